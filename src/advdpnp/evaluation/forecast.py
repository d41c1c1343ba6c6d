"""How long an evaluation will take, told before it begins."""

import time
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

from advdpnp.attacks import Attack
from advdpnp.attacks.stepwise import stepwise_attacks
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
    """How many input gradients take as long as an attack (None: clean images) on an image that it does not break."""
    if attack is None:
        return 1
    if attacks := stepwise_attacks(attack):
        return sum(each.attempts(classes) * each.length * each.cost for each in attacks)
    # An attack of no stated number of steps counts as one.
    cost: float = getattr(attack, "cost", 1.0)
    return (attack.steps or 1) * attack.restarts * cost


def forecast(probe: GradientTime, left: Iterable[tuple[Attack | None, int]]) -> float:
    """Seconds that attacks take at most: stepwise attacks end sooner on images that they break.

    Args:
        probe: how long a gradient takes.
        left: attacks (None: clean images), and how many images each is still to be run on.
    """
    return sum(n * probe.seconds * gradients(attack, probe.classes) for attack, n in left)
