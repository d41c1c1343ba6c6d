"""How long an evaluation will take, told before it begins."""

import time
from collections.abc import Iterable

import torch
from torch import nn

from advdpnp.attacks import Attack
from advdpnp.data import Images
from advdpnp.losses import cross_entropy

# Enough for a CPU to be as fast per image as with a whole chunk; a GPU is timed with the whole chunk.
_CPU_ROWS = 16


def seconds_per_gradient(surface: nn.Module, images: Images, chunk: int) -> float:
    """Seconds that one input gradient takes for each image."""
    on_cpu = images.labels.device.type == "cpu"
    rows = min(_CPU_ROWS, chunk) if on_cpu else chunk
    x, y = images.batch(torch.arange(rows, device=images.labels.device) % len(images))
    seconds = 0.0
    # The first one warms up.
    for _ in range(2):
        began = time.perf_counter()
        probe = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(surface(probe), y).sum(), probe)
        # Waits for the device.
        gradient.sum().item()
        seconds = time.perf_counter() - began
    return seconds / rows


def forecast(seconds: float, left: Iterable[tuple[Attack | None, int]]) -> float:
    """Seconds that attacks will take.

    Args:
        seconds: of one input gradient of one image.
        left: attacks (None: clean images) and how many images each has still before it.
    """
    return sum(n * seconds * (attack.steps * attack.restarts if attack else 1) for attack, n in left)
