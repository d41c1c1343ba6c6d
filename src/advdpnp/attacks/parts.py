"""The same ascent, on parts of a batch that are small enough for the processor's cache.

An iteration goes forward and back through every layer before the next one begins. Where the activations of a whole
batch do not fit the cache, they come from memory each time; those of a part do not. Networks with much arithmetic for
each activation gain nothing from it, and lose by the smaller matrix products.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advdpnp.attacks.projected_ascent import AscentLoss, Budget, Forward, Tensors, ascend, pgd_steps
from advdpnp.noise import Noise
from advdpnp.ranges import Count, check_fields

# Bytes of a part's largest activation. Measured with 16 to 128 rows of four networks on three processors
# (benchmarks/README.md), whose cores have 1 or 2 MiB each.
CACHE_BYTES = 2 * 2**20
# A network that has fewer rows than these in the cache is a large one, where parts measured slower.
FEWEST_ROWS = 32


def usual_ascent(network: nn.Module, image_shape: tuple[int, ...]) -> Callable[..., Tensor]:
    """`ascend`, in parts where the network is a small one on a CPU.

    Args as `rows_in_cache`, the device aside.
    """
    on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
    rows = rows_in_cache(network, image_shape) if on_cpu else None
    return AscentInParts(rows) if rows else ascend


def rows_in_cache(network: nn.Module, image_shape: tuple[int, ...]) -> int | None:
    """How many images' largest activation the cache holds; None where the network is too large.

    A fixed rule of the network and the shape of its images, not of a clock, so that runs can be repeated.

    Args:
        network: on a CPU, in eval mode.
        image_shape: (channels, H, W).
    Returns:
        A power of two for each thread, or None.
    """
    largest = 0

    def look(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel() * output.element_size())

    hooks = [module.register_forward_hook(look) for module in network.modules()]
    try:
        with torch.no_grad():
            network(torch.zeros(1, *image_shape, dtype=_dtype(network)))
    finally:
        for hook in hooks:
            hook.remove()
    rows = CACHE_BYTES // max(largest, 1)
    if rows < FEWEST_ROWS:
        return None
    # Threads share a part, and each has a cache of its own.
    return (1 << rows.bit_length() - 1) * torch.get_num_threads()


def _dtype(network: nn.Module) -> torch.dtype:
    """Of the images: float64 where the network is."""
    return next((torch.promote_types(p.dtype, torch.float32) for p in network.parameters()), torch.float32)


@dataclass(frozen=True)
class AscentInParts:
    """`ascend`, on so many rows after another.

    Args:
        rows: of a part, at least 1.
    """

    rows: Count

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(
        self,
        forward: Forward,
        loss: AscentLoss,
        x: Tensor,
        reference: Tensors,
        per_step: Tensors = (),
        *,
        budget: Budget,
        noise: Noise,
        stream: str = "start",
    ) -> Tensor:
        start = budget.begin(x, noise, stream)
        # What is no number of each image cannot be cut.
        whole = any(len(values) != len(x) for values in reference) or any(values.dim() > 1 for values in per_step)
        if whole:
            return pgd_steps(forward, loss, x, start, reference, per_step, budget)
        parts = [torch.split(values, self.rows) for values in (x, start, *reference)]
        crafted = [
            pgd_steps(forward, loss, images, begin, tuple(rest), per_step, budget)
            for images, begin, *rest in zip(*parts, strict=True)
        ]
        return torch.cat(crafted)
