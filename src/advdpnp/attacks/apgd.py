"""Auto-PGD: projected ascent that sets its own step size (Croce and Hein 2020; in l1, Croce and Hein 2021)."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from advdpnp import losses
from advdpnp.attacks.apgd_step import APGDState, APGDStep, MomentumStep, SparseStep
from advdpnp.attacks.stepwise import ChunkedModel, LossGradient, Queries, StepwiseAttack, fewer_targets
from advdpnp.noise import Noise
from advdpnp.ranges import Count, Range


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio, (max_{k != y} z_k - z_y) / (z_(1) - z_(3)), z_(i) the i-th largest (2020, Eq. 6).

    It is undefined below 3 classes, where the margin stands in for it; classes with a logit of -Inf are none.

    Args:
        logits: (B, C).
        y: (B,) int64 in [0, C).
    Returns:
        (B,), positive where misclassified.
    """
    margin = losses.margin(logits, y)
    if logits.shape[1] < 3:
        return margin
    largest = losses.at_least_fp32(logits).topk(3, dim=1)[0]
    return _over(margin, largest[:, 0] - largest[:, 2] + 1e-12)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """(z_target - z_y) / (z_(1) - (z_(3) + z_(4)) / 2) (2020, Eq. 7); below 4 classes the numerator alone.

    Args:
        logits: (B, C).
        y, target: (B,) int64 in [0, C).
    Returns:
        (B,), positive where the target is likelier than the label.
    """
    lead = losses.lead(logits, y, target)
    return lead if logits.shape[1] < 4 else _over(lead, _spread(logits))


def aimed_dlr(logits: Tensor, target: Tensor) -> Tensor:
    """(z_t - max_{k != t} z_k) / (z_(1) - (z_(3) + z_(4)) / 2), t the target; below 4 classes the numerator alone.

    `targeted_dlr` with the likeliest other class, whichever it is, in the place of the label: it is not enough for the
    target to pass the label where only the target will do.

    Args:
        logits: (B, C).
        target: (B,) int64 in [0, C).
    Returns:
        (B,), positive where the target is the answer.
    """
    lead = -losses.margin(logits, target)
    return lead if logits.shape[1] < 4 else _over(lead, _spread(logits))


def _spread(logits: Tensor) -> Tensor:
    """z_(1) - (z_(3) + z_(4)) / 2: (B, C) with C at least 4 -> (B,)."""
    largest = losses.at_least_fp32(logits).topk(4, dim=1)[0]
    return largest[:, 0] - 0.5 * (largest[:, 2] + largest[:, 3]) + 1e-12


def _over(difference: Tensor, spread: Tensor) -> Tensor:
    """difference / spread; the difference alone where the spread is infinite, and -inf where the difference is.

    Chosen before the division, whose gradient would be NaN at infinities even where it is not chosen: (B,), (B,).
    """
    reached = difference != -torch.inf
    spread = torch.where(spread.isfinite(), spread, 1.0)
    return torch.where(reached, torch.where(reached, difference, 0.0) / spread, -torch.inf)


@dataclass(frozen=True, kw_only=True)
class AutoPGD(StepwiseAttack[APGDState]):
    """What the attacks of this family share: everything but what they maximize."""

    rho: Annotated[float, Range("[0, 1]", "a share of the steps")] = 0.75
    multi_eps: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multi_eps and (self.norm != "l1" or self.steps < 3):
            raise ValueError(
                f"multi_eps needs norm l1 and at least 3 steps; got {self.norm} and {self.steps}: leave it False"
            )

    @property
    def length(self) -> int:
        # Each phase takes a gradient at its first point, too.
        return sum(steps + 1 for _, steps in self._phases)

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> APGDState:
        state: APGDState = self._stepper.init(x, y, target, noise, f"{self.name}/start-{attempt}")
        return state

    def step(self, network: ChunkedModel, state: APGDState, noise: Noise) -> Queries:
        # In l1 an iterate that touches the box is outside of it by a rounding.
        points = state.point.clamp(0.0, 1.0)
        answer = self._answer(network, points, state)
        state.point = self._stepper.next_point(state, answer)
        state.age = state.age + 1
        return Queries(points, answer.logits)

    @abstractmethod
    def _answer(self, network: ChunkedModel, points: Tensor, state: APGDState) -> LossGradient:
        """What is maximized, and its gradient, at these points (B, channels, H, W)."""

    # Which state belongs to which norm is known here only, hence Any.
    @cached_property
    def _stepper(self) -> APGDStep[Any]:
        if self.norm == "l1":
            return SparseStep(self._phases)
        return MomentumStep(self.norm, self.eps, self.steps, self.rho)

    @property
    def _phases(self) -> tuple[tuple[float, int], ...]:
        """(radius, steps) of each phase."""
        if not self.multi_eps:
            return ((self.eps, self.steps),)
        early = math.ceil(0.3 * self.steps)
        return (3.0 * self.eps, early), (2.0 * self.eps, early), (self.eps, self.steps - 2 * early)


@dataclass(frozen=True, kw_only=True)
class _LogitsAutoPGD(AutoPGD):
    """Auto-PGD on a loss of the logits."""

    def _answer(self, network: ChunkedModel, points: Tensor, state: APGDState) -> LossGradient:
        return network.gradient(points, self._loss, state.y, state.target)

    @abstractmethod
    def _loss(self, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        """(B, C), (B,), (B,) -> (B,), to be maximized."""


@dataclass(frozen=True, kw_only=True)
class APGDCE(_LogitsAutoPGD):
    """Auto-PGD on the cross-entropy.

    Args:
        eps: radius in the units of the norm.
        norm: "linf", "l2" or "l1".
        steps: iterations; the gradient at the start is one more, or one of each phase.
        restarts: ascents from different random starts, each on the images that are still classified correctly.
        rho: share of the steps between two checks that have to raise the loss (linf and l2).
        multi_eps: l1 in three phases, with radii 3 eps, 2 eps and eps, as in standard l1 AutoAttack.
        target: class to aim at: ascent on its log likelihood; None for any wrong class.
    Raises:
        ValueError: a field that makes no sense.
    """

    name: ClassVar[str] = "apgd-ce"

    def _loss(self, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        return -losses.cross_entropy(logits, target) if self.aims else losses.cross_entropy(logits, y)


@dataclass(frozen=True, kw_only=True)
class APGDDLR(_LogitsAutoPGD):
    """Auto-PGD on the difference of logits ratio.

    Fields as `APGDCE`; with a target it climbs `aimed_dlr`.
    """

    name: ClassVar[str] = "apgd-dlr"
    scale_free: ClassVar[bool] = True

    def note(self, num_classes: int) -> str:
        if self.aims:
            return _without_targeted_dlr(self.name, num_classes)
        return (
            f"{self.name}: {num_classes} classes: the margin instead of DLR, which needs 3" if num_classes < 3 else ""
        )

    def _loss(self, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        return aimed_dlr(logits, target) if self.aims else dlr(logits, y)


def _without_targeted_dlr(name: str, num_classes: int) -> str:
    """The note of an attack that cannot have the loss it is named for."""
    if num_classes >= 4:
        return ""
    return f"{name}: {num_classes} classes: the target's margin instead of its DLR, which needs 4"


@dataclass(frozen=True, kw_only=True)
class APGDT(_LogitsAutoPGD):
    """Auto-PGD on the targeted difference of logits ratio, one target class after another.

    Fields as `APGDCE`, and:

    Args:
        targets: other classes that are aimed at, likeliest first; all of them where there are fewer. Each has
            `restarts` ascents.
        target: the one class to aim at, in the place of these; None for any wrong class.
    """

    name: ClassVar[str] = "apgd-t"
    scale_free: ClassVar[bool] = True

    targets: Count = 9

    def attempts(self, num_classes: int) -> int:
        return self.restarts if self.aims else min(self.targets, num_classes - 1) * self.restarts

    def target_rank(self, attempt: int) -> int:
        return -1 if self.aims else attempt // self.restarts

    def note(self, num_classes: int) -> str:
        if self.aims:
            return _without_targeted_dlr(self.name, num_classes)
        margin = "the target's margin instead of its DLR, which needs 4 classes" if num_classes < 4 else ""
        said = [text for text in (fewer_targets(self.targets, num_classes), margin) if text]
        return f"{self.name}: {', and '.join(said)}" if said else ""

    def _loss(self, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        return aimed_dlr(logits, target) if self.aims else targeted_dlr(logits, y, target)
