"""Facts about the machine, and the measured speed of its matrix products, copies and convolutions."""

import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from advdpnp.api import environment, use_tf32
from advdpnp.bench.timing import timed
from advdpnp.runs import Json

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

# ResNet-18 with the CIFAR stem: the 3x3 convolution of each stage, as (channels, image size).
_STAGES = ((64, 32), (128, 16), (256, 8), (512, 4))


_LAYOUTS = (
    ("fp32", "nchw", torch.float32, torch.contiguous_format),
    ("fp32", "nhwc", torch.float32, torch.channels_last),
    ("bf16", "nhwc", torch.bfloat16, torch.channels_last),
)


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
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    return _rate(device, lambda: a @ b, 2 * size**3)


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
