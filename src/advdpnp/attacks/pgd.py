"""Projected gradient descent (Madry et al. 2018)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp.attacks.ascent import cross_entropy
from advdpnp.attacks.attack import Logits, budget_of, check_attack, strongest
from advdpnp.attacks.call import attack_call
from advdpnp.noise import Noise
from advdpnp.ranges import Count, NonNegative
from advdpnp.threat import Ball, check_level


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Projected steepest ascent on the cross-entropy.

    Args:
        eps: radius in the units of the norm.
        norm: "linf" or "l2".
        steps: iterations.
        step_size: length of a step; 0 stands for 2.5 eps / steps, the rule behind every step size of Adv-DPNP's tables.
        restarts: ascents from different starts; the widest misclassification of each image is kept.
        random_start: start at a random point of the ball, else at the image.
    """

    name: ClassVar[str] = "pgd"

    eps: NonNegative = 8 / 255
    norm: Ball = "linf"
    steps: Count = 20
    step_size: NonNegative = 0.0
    restarts: Count = 1
    random_start: bool = True

    def __post_init__(self) -> None:
        check_attack(self)
        check_level(self.norm, self.step_size, "step_size")
        if self.step_size == 0:
            object.__setattr__(self, "step_size", 2.5 * self.eps / self.steps)
        budget_of(self)

    @attack_call
    def __call__(self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        return strongest(self, logits_fn, cross_entropy, x, y, noise)
