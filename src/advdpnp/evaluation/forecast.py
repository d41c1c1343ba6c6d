"""How long an evaluation will take, told before it begins."""

import time
from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import nn

from advdpnp.attacks import Attack
from advdpnp.attacks.attack import Ascending
from advdpnp.attacks.autoattack import stepwise_attacks
from advdpnp.data import Images
from advdpnp.losses import cross_entropy

# Enough for a CPU to be as fast per image as with a whole chunk; a GPU is timed with the whole chunk.
_CPU_ROWS = 16


class GradientTime(NamedTuple):
    """Seconds that one input gradient takes for each image, and the network's classes."""

    seconds: float
    classes: int


def time_gradient(attacked_model: nn.Module, images: Images, chunk: int) -> GradientTime:
    """Time one input gradient."""
    on_cpu = images.labels.device.type == "cpu"
    rows = min(_CPU_ROWS, chunk) if on_cpu else chunk
    x, y = images.batch(torch.arange(rows, device=images.labels.device) % len(images))
    seconds, classes = 0.0, 0
    # The first one warms up.
    for _ in range(2):
        began = time.perf_counter()
        probe = x.clone().requires_grad_()
        # A copy, for networks that change their input in place.
        logits = attacked_model(probe.clone())
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), probe)
        # Waits for the device.
        gradient.sum().item()
        seconds, classes = time.perf_counter() - began, logits.shape[1]
    return GradientTime(seconds / rows, classes)


def gradients(attack: Attack | None, classes: int) -> float:
    """Input gradients that an attack (None: clean images) takes as long as, for an image that withstands it."""
    if attack is None:
        return 1
    if parts := stepwise_attacks(attack):
        return sum(progress.attempts(classes) * progress.length * progress.cost for progress in parts)
    ascending = cast(Ascending, attack)
    return ascending.steps * ascending.restarts


def forecast(probe: GradientTime, left: Iterable[tuple[Attack | None, int]]) -> float:
    """Seconds that attacks will take, at most: searches are over sooner for images that fall.

    Args:
        probe: what a gradient takes.
        left: attacks (None: clean images) and how many images each has still before it.
    """
    return sum(n * probe.seconds * gradients(attack, probe.classes) for attack, n in left)
