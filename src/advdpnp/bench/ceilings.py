"""Facts about the machine, and the measured speed of its matrix products, copies and convolutions."""

import functools
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from advdpnp.api import environment, use_tf32
from advdpnp.bench.timing import timed
from advdpnp.runs import Json

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

# ResNet-18 with the CIFAR stem: the 3x3 convolution of each stage, as (channels, image size).
_STAGES = ((64, 32), (128, 16), (256, 8), (512, 4))

# Sides of the square matrix products on a CPU, and the seconds after which no larger one is tried.
_PRODUCTS, _LONG = (512, 1024, 2048), 0.5

_LAYOUTS = (
    ("fp32", "nchw", torch.float32, torch.contiguous_format),
    ("fp32", "nhwc", torch.float32, torch.channels_last),
    ("bf16", "nhwc", torch.bfloat16, torch.channels_last),
)


def processor_name(machine: Json) -> str:
    """Processor and family/model of what `describe_machine` returned, as part of a file's name: "amd-epyc-26-2"."""
    words = f"{machine['cpu']} {machine['cpu_family_model']}".lower().replace("(r)", "")
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def describe_machine(device: torch.device) -> Json:
    """Versions, processor and its instructions, GPU and its libraries, and how busy the machine was."""
    described = environment(device) | _processor()
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        described |= {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
            "multiprocessors": properties.multi_processor_count,
        }
    return described


def measure_ceilings(device: torch.device) -> Json:
    """Rates of large square matrix products by precision, in TFLOP/s, and of a copy, read and written, in GB/s."""
    ceilings: Json = {"fp32_tflop_per_second": _product(device, torch.float32)}
    if device.type == "cuda":
        use_tf32(True)
        ceilings["tf32_tflop_per_second"] = _product(device, torch.float32)
        use_tf32(False)
    ceilings["bf16_tflop_per_second"] = _product(device, torch.bfloat16)
    ceilings["copy_gb_per_second"] = _copy(device)
    return {name: float(f"{rate:.4g}") for name, rate in ceilings.items()}


def network_ceiling(network: nn.Module, x: Tensor, dtype: torch.dtype) -> Json:
    """The fastest of several matrix products and of the network's own convolutions, both ways: what it may be held to.

    A product alone is no ceiling where the network's convolutions have better kernels.

    Args:
        network: on the device and in the layout that it is used in; its layers compute in `dtype`.
        x: (B, channels, H, W), one batch.
        dtype: torch.float32 or torch.bfloat16.
    Returns:
        "tflop_per_second" of the fastest, its name ("by"), and the "rates" of all by name.
    """
    rates = _products(x.device, dtype)
    for name, (layer, seen) in own_convolutions(network, x).items():
        rates |= {f"{name} {way}": rate for way, rate in _both_ways(layer, seen).items()}
    best = max(rates, key=lambda name: rates[name])
    rounded = {name: float(f"{rate:.4g}") for name, rate in rates.items()}
    return {"tflop_per_second": rounded[best], "by": best, "rates": rounded}


@torch.no_grad()
def own_convolutions(network: nn.Module, x: Tensor) -> dict[str, tuple[nn.Conv2d, Tensor]]:
    """Every kind of convolution that a forward of `x` meets, by name: one such layer, and what it reads."""
    found: dict[str, tuple[nn.Conv2d, Tensor]] = {}

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        shape = "x".join(map(str, inputs[0].shape[1:]))
        kernel = "x".join(map(str, layer.kernel_size))
        name = f"{kernel} convolution {shape} to {'x'.join(map(str, output.shape[1:]))}"
        found[name] = layer, inputs[0].to(layer.weight.dtype)

    hooks = [layer.register_forward_hook(keep) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def convolution_rates(device: torch.device, batch: int) -> list[Json]:
    """TFLOP/s of the 3x3 convolution of each stage of ResNet-18: forward, and backward to images and to weights."""
    rows = []
    for precision, layout, dtype, memory in _LAYOUTS:
        for channels, size in _STAGES:
            x = torch.rand(batch, channels, size, size, device=device).to(dtype, memory_format=memory)
            weight = torch.rand(channels, channels, 3, 3, device=device).to(dtype, memory_format=memory)
            flop = 2 * batch * size**2 * channels**2 * 9
            row = {"precision": precision, "layout": layout, "channels": channels, "size": size}
            rows.append(row | _convolution(device, x, weight, flop))
    return rows


def stem_seconds(device: torch.device, batch: int) -> list[Json]:
    """Seconds of the first convolution in bf16, 3 channels to 64: as it is, and with the images padded to 8 channels.

    Tensor cores read 8 channels at a time. Padding the images and cutting their gradient are part of the time.
    """
    x = torch.rand(batch, 3, 32, 32, device=device).to(torch.bfloat16, memory_format=torch.channels_last)
    rows = []
    for channels in (3, 8):
        weight = torch.zeros(64, channels, 3, 3, device=device)
        weight = weight.to(torch.bfloat16, memory_format=torch.channels_last)
        # A rate of seconds: the reciprocal of runs in a second.
        works = {"forward": _stem_forward(x, weight), "to_images": _stem_backward(x, weight)}
        times = {f"{name}_seconds": 1e-12 / _rate(device, work, 1) for name, work in works.items()}
        rows.append({"channels": channels} | {name: float(f"{value:.4g}") for name, value in times.items()})
    return rows


def _processor() -> Json:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    return {
        "cpu": facts.get("model name", "unknown"),
        "cpu_family_model": f"{facts.get('cpu family', '?')}/{facts.get('model', '?')}",
        "cpu_instructions": [name for name in _INSTRUCTIONS if name in flags],
        "bf16_instructions": "avx512_bf16" in flags or "amx_bf16" in flags,
        "load_average": round(float(Path("/proc/loadavg").read_text().split()[0]), 2) if path.exists() else None,
    }


def _rate(device: torch.device, work: Callable[[], object], amount: float) -> float:
    """`amount` per second, from the median of five timings, in 10^12."""
    work()
    runs = 10 if device.type == "cuda" else 1
    return amount / statistics.median(timed(device, work, runs)[0] for _ in range(5)) / 1e12


def _product(device: torch.device, dtype: torch.dtype) -> float:
    return max(_products(device, dtype).values())


def _products(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """TFLOP/s of square matrix products of growing size, until one takes long."""
    rates: dict[str, float] = {}
    for size in (8192,) if device.type == "cuda" else _PRODUCTS:
        a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
        rates[f"product {size}"] = rate = _rate(device, functools.partial(torch.mm, a, b), 2 * size**3)
        # Without bf16 instructions the next one would take minutes.
        if 2 * size**3 / rate / 1e12 > _LONG:
            break
    return rates


def _both_ways(layer: nn.Conv2d, x: Tensor) -> dict[str, float]:
    """TFLOP/s of a layer's forward, and of its backward to the images."""
    weight, stride, padding = layer.weight.detach(), [*layer.stride], [*map(int, layer.padding)]
    dilation, groups = [*layer.dilation], layer.groups
    output = torch.nn.functional.conv2d(x, weight, None, stride, padding, dilation, groups)
    flop = 2 * output.numel() * weight[0].numel()

    def forward() -> Tensor:
        return torch.nn.functional.conv2d(x, weight, None, stride, padding, dilation, groups)

    def backward() -> object:
        return torch.ops.aten.convolution_backward(
            output, x, weight, None, stride, padding, dilation, False, [0, 0], groups, [True, False, False]
        )

    return {"forward": _rate(x.device, forward, flop), "backward": _rate(x.device, backward, flop)}


def _copy(device: torch.device) -> float:
    source = torch.zeros(2**28 if device.type == "cuda" else 2**25, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return 1000 * _rate(device, lambda: target.copy_(source), 2 * source.nbytes)


def _padded(x: torch.Tensor, channels: int) -> torch.Tensor:
    if x.shape[1] == channels:
        return x
    wide = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))
    return wide.contiguous(memory_format=torch.channels_last)


def _stem_forward(x: torch.Tensor, weight: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: torch.nn.functional.conv2d(_padded(x, weight.shape[1]), weight, padding=1)


def _stem_backward(x: torch.Tensor, weight: torch.Tensor) -> Callable[[], torch.Tensor]:
    output, wide = _stem_forward(x, weight)(), _padded(x, weight.shape[1])

    def work() -> torch.Tensor:
        mask = [True, False, False]
        gradients = torch.ops.aten.convolution_backward(
            output, wide, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask
        )
        gradient: torch.Tensor = gradients[0][:, : x.shape[1]]
        return gradient.contiguous(memory_format=torch.channels_last)

    return work


def _convolution(device: torch.device, x: torch.Tensor, weight: torch.Tensor, flop: float) -> Json:
    output = torch.nn.functional.conv2d(x, weight, padding=1)

    def backward(to_images: bool) -> Callable[[], object]:
        mask = [to_images, not to_images, False]
        ones, none = [1, 1], [0, 0]
        return lambda: torch.ops.aten.convolution_backward(
            output, x, weight, None, ones, ones, ones, False, none, 1, mask
        )

    works: dict[str, Callable[[], object]] = {
        "forward": lambda: torch.nn.functional.conv2d(x, weight, padding=1),
        "to_images": backward(True),
        "to_weights": backward(False),
    }
    return {name: float(f"{_rate(device, work, flop):.4g}") for name, work in works.items()}
