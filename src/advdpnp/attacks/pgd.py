"""FGSM, PGD and C&W: projected ascents with steps of one size."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp import losses
from advdpnp.attacks.attack import Logits, attack_call, budget_of, check_attack, strongest
from advdpnp.attacks.projected_ascent import Tensors, cross_entropy
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


@dataclass(frozen=True, kw_only=True)
class FGSM:
    """One cross-entropy step of length eps from the image.

    Args:
        eps: radius, and length of the step.
        norm: "linf", or "l2" for the fast gradient method.
    """

    name: ClassVar[str] = "fgsm"
    steps: ClassVar[int] = 1
    restarts: ClassVar[int] = 1
    random_start: ClassVar[bool] = False

    eps: NonNegative = 8 / 255
    norm: Ball = "linf"

    def __post_init__(self) -> None:
        check_attack(self)
        budget_of(self)

    @property
    def step_size(self) -> float:
        return self.eps

    @attack_call
    def __call__(self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        return strongest(self, logits_fn, cross_entropy, x, y, noise)


def clipped_margin(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """-max(z_y - max_{k != y} z_k + kappa, 0) per example; reference = (labels, kappa)."""
    y, kappa = reference
    return -(kappa - losses.margin(output, y)).clamp_min(0)


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    """PGD on the C&W margin with confidence kappa (as in FSR's evaluation, which Adv-DPNP's Table 2 seems to use).

    The margin is scale free in sign, so it finds what cross-entropy misses on over-confident models. kappa = 50 stops
    the ascent only once the rival leads by 50 in logits: never, for ordinary networks.

    Args:
        eps: radius in the units of the norm.
        norm: "linf" or "l2".
        steps: iterations.
        step_size: length of a step; 0 stands for eps / 10 (FSR).
        kappa: confidence in logits, at least 0.
        restarts: ascents from different starts; the widest misclassification of each image is kept.
        random_start: start at a random point of the ball, else at the image.
    """

    name: ClassVar[str] = "cw"

    eps: NonNegative = 8 / 255
    norm: Ball = "linf"
    steps: Count = 30
    step_size: NonNegative = 0.0
    kappa: NonNegative = 50.0
    restarts: Count = 1
    random_start: bool = False

    def __post_init__(self) -> None:
        check_attack(self)
        check_level(self.norm, self.step_size, "step_size")
        if self.step_size == 0:
            object.__setattr__(self, "step_size", 0.1 * self.eps)
        budget_of(self)

    @attack_call
    def __call__(self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        return strongest(self, logits_fn, clipped_margin, x, y, noise, (x.new_tensor(self.kappa),))
