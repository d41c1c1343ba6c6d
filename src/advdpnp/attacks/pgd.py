"""FGSM, BIM, PGD and C&W: projected ascents with steps of one size."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from advdpnp import losses
from advdpnp.attacks.attack import Attack, Logits, Target, attack_call, check_attack
from advdpnp.attacks.l1_variants import L1Ascent, l1_ball
from advdpnp.attacks.projected_ascent import (
    AscentLoss,
    Budget,
    Forward,
    Start,
    Tensors,
    ascend,
    cross_entropy,
    likelihood,
)
from advdpnp.noise import IndexNoise, Noise
from advdpnp.ranges import Count, NonNegative
from advdpnp.threat import Ball, Norm, ThreatModel, check_level

# Steps in linf and l2, and in l1, where a step along one coordinate moves one pixel.
_STEPS, _L1_STEPS = 20, 100
# Stands for these until the norm is known; a count that is given, 0 too, is checked like any other.
_BY_NORM: Any = None


class _FixedStepAttack(Attack, Protocol):
    """An attack that is a projected ascent, with steps of one size."""

    @property
    def norm(self) -> Norm: ...
    @property
    def steps(self) -> int: ...
    @property
    def step_size(self) -> float: ...


class CrossEntropyAscent:
    """What PGD, FGSM, BIM and SLIDE have in common: the strongest of the restarts on the cross-entropy.

    With a target it is the ascent on the target's log likelihood.
    """

    @attack_call
    def __call__(
        self: _FixedStepAttack,
        logits_fn: Logits,
        x: Tensor,
        y: Tensor,
        *,
        noise: Noise | None = None,
        target: Tensor | None = None,
    ) -> Tensor:
        """(B, channels, H, W) in [0, 1], labels (B,) -> adversarial images like x; see `advdpnp.attacks.Attack`."""
        loss = cross_entropy if target is None else likelihood
        return strongest_restart(self, logits_fn, loss, x, y, noise, (), target)


def settle_step(attack: Any, usual: float) -> None:
    """Put the usual step size in the place of 0, in a frozen attack; ValueError on one longer than the box."""
    check_level(attack.norm, attack.step_size, "step_size")
    if attack.step_size == 0:
        object.__setattr__(attack, "step_size", usual)


@dataclass(frozen=True, kw_only=True)
class PGD(CrossEntropyAscent):
    """Projected steepest ascent on the cross-entropy.

    In l1 a steepest step moves one pixel, which the box soon stops: that is weak, and an accuracy under it says little.
    `SLIDE` and APGD in l1 are the strong ones.

    Args:
        eps: radius in the units of the norm.
        norm: "linf", "l2" or "l1".
        steps: iterations; by default 20, and 100 in l1.
        step_size: length of a step; 0 stands for 2.5 eps / steps, the rule behind every step size of Adv-DPNP's tables.
        ascent: what PGD is in l1: "coordinate", steps along the steepest coordinate and exact projection (advertorch,
            FSR); "dense", along the whole gradient with radial rescaling (foolbox); "rescaled", along the steepest
            coordinate with radial rescaling (Adversarial Robustness Toolbox). "coordinate" in other norms.
        restarts: ascents from different starts; the widest misclassification of each image is kept.
        random_start: start at a random point of the ball, else at the image.
        target: class to aim at: ascent on its log likelihood; None for any wrong class.
    """

    name: ClassVar[str] = "pgd"

    eps: NonNegative = 8 / 255
    norm: Norm = "linf"
    steps: Count = _BY_NORM
    step_size: NonNegative = 0.0
    ascent: L1Ascent = "coordinate"
    restarts: Count = 1
    random_start: bool = True
    target: Target = None

    def __post_init__(self) -> None:
        if self.steps is None:
            object.__setattr__(self, "steps", _L1_STEPS if self.norm == "l1" else _STEPS)
        check_attack(self)
        settle_step(self, 2.5 * self.eps / self.steps)
        if self.norm != "l1" and self.ascent != "coordinate":
            raise ValueError(f"ascent {self.ascent} is a variant of PGD in l1; got norm {self.norm}: leave it out")
        budget_of(self)

    @property
    def threat(self) -> ThreatModel:
        """The ball, with the steps of this attack."""
        return l1_ball(self.eps, self.ascent) if self.norm == "l1" else ThreatModel(self.norm, self.eps)


@dataclass(frozen=True, kw_only=True)
class FGSM(CrossEntropyAscent):
    """One cross-entropy step of length eps from the image.

    Args:
        eps: radius, and length of the step.
        norm: "linf"; "l2" for the fast gradient method; "l1", where one pixel changes.
        target: class to aim at, as in `PGD`.
    """

    name: ClassVar[str] = "fgsm"
    steps: ClassVar[int] = 1
    restarts: ClassVar[int] = 1
    random_start: ClassVar[bool] = False

    eps: NonNegative = 8 / 255
    norm: Norm = "linf"
    target: Target = None

    def __post_init__(self) -> None:
        check_attack(self)
        budget_of(self)

    @property
    def step_size(self) -> float:
        return self.eps


@dataclass(frozen=True, kw_only=True)
class BIM(CrossEntropyAscent):
    """The basic iterative method (Kurakin et al. 2017): FGSM in small steps from the image.

    Args:
        eps: radius in the units of the norm.
        norm: "linf", or "l2" for steps along the gradient itself.
        steps: iterations; the authors' number at 8/255.
        step_size: length of a step; 0 stands for 1.25 eps / steps, the authors' path: 1/255 at 8/255 and 10 steps.
        target: class to aim at, as in `PGD`.
    """

    name: ClassVar[str] = "bim"
    restarts: ClassVar[int] = 1
    random_start: ClassVar[bool] = False

    eps: NonNegative = 8 / 255
    norm: Ball = "linf"
    steps: Count = 10
    step_size: NonNegative = 0.0
    target: Target = None

    def __post_init__(self) -> None:
        check_attack(self)
        settle_step(self, 1.25 * self.eps / self.steps)
        budget_of(self)


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    """PGD on the C&W margin with confidence kappa (as in FSR's evaluation, which Adv-DPNP's Table 2 seems to use).

    The margin is scale free in sign, so it finds what cross-entropy misses on over-confident models. kappa = 50 stops
    the ascent only once another class leads by 50 in logits: never, for ordinary networks.

    Args:
        eps: radius in the units of the norm.
        norm: "linf", "l2" or "l1".
        steps: iterations.
        step_size: length of a step; 0 stands for eps / 10 (FSR).
        kappa: confidence in logits, at least 0.
        restarts: ascents from different starts; the widest misclassification of each image is kept.
        random_start: start at a random point of the ball, else at the image.
        target: class to aim at: ascent on its margin over the likeliest other class, up to a lead of kappa (C&W's f_6);
            None for any wrong class.
    """

    name: ClassVar[str] = "cw"
    scale_free: ClassVar[bool] = True

    eps: NonNegative = 8 / 255
    norm: Norm = "linf"
    steps: Count = 30
    step_size: NonNegative = 0.0
    kappa: NonNegative = 50.0
    restarts: Count = 1
    random_start: bool = False
    target: Target = None

    def __post_init__(self) -> None:
        check_attack(self)
        settle_step(self, 0.1 * self.eps)
        budget_of(self)

    @attack_call
    def __call__(
        self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None, target: Tensor | None = None
    ) -> Tensor:
        loss = clipped_margin if target is None else clipped_target_margin
        return strongest_restart(self, logits_fn, loss, x, y, noise, (x.new_tensor(self.kappa),), target)


def clipped_margin(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """-max(z_y - max_{k != y} z_k + kappa, 0) per example; reference = (labels, kappa)."""
    y, kappa = reference
    return -(kappa - losses.margin(output, y)).clamp_min(0)


def clipped_target_margin(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """-max(max_{k != t} z_k - z_t + kappa, 0) per example; reference = (target classes, kappa)."""
    target, kappa = reference
    return -(kappa + losses.margin(output, target)).clamp_min(0)


def strongest_restart(
    attack: _FixedStepAttack,
    logits_fn: Logits,
    loss: AscentLoss,
    x: Tensor,
    y: Tensor,
    noise: Noise | None,
    constants: tuple[Tensor, ...] = (),
    target: Tensor | None = None,
    forward: Forward | None = None,
) -> Tensor:
    """The best of the attack's restarts for each image: the one that misclassifies it by the widest margin.

    `loss` gets (labels, *constants) as its reference, and the output of `forward`, which is `logits_fn` unless it is
    given. With `target`, (B,) int64, it gets (target, *constants), the
    margin is that of the target over all other classes, and images of that class stay as they are.
    """
    budget = budget_of(attack)
    noise = noise or IndexNoise(0, torch.arange(len(x), device=x.device))
    reference = (y if target is None else target, *constants)
    ascents = (
        ascend(forward or logits_fn, loss, x, reference, budget=budget, noise=noise, stream=f"restart-{restart}")
        for restart in range(attack.restarts)
    )
    best = next(ascents)
    if attack.restarts > 1:
        best_lead = _lead(logits_fn(best), y, target)
        for x_adv in ascents:
            lead = _lead(logits_fn(x_adv), y, target)
            best = torch.where((lead > best_lead).view(-1, 1, 1, 1), x_adv, best)
            best_lead = torch.maximum(best_lead, lead)
    return best if target is None else torch.where((target == y).view(-1, 1, 1, 1), x, best)


def budget_of(attack: _FixedStepAttack) -> Budget:
    """The budget of one restart; ValueError on fields that make no sense together."""
    if attack.restarts > 1 and not attack.random_start:
        raise ValueError(f"{attack.restarts} restarts without a random start repeat one ascent: set random_start=True")
    start: Start = "uniform" if attack.random_start else "none"
    # Attacks that move in a way of their own have a `threat`.
    threat = getattr(attack, "threat", None) or ThreatModel(attack.norm, attack.eps)
    return Budget(threat, attack.steps, attack.step_size, start)


def _lead(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """By how much the goal is reached, (B,), positive where it is.

    Logits that are not finite are a misclassification, but by no margin; and they are no target.
    """
    if target is not None:
        return torch.where(losses.has_answer(logits), -losses.margin(logits, target), -torch.inf)
    margin = losses.margin(logits, y)
    return torch.where(losses.has_answer(logits), margin, torch.finfo(margin.dtype).tiny)
