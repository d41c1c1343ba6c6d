"""The smallest radius at which an image is broken: steps to the boundary, then bisection over Auto-PGD."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from advdpnp import losses
from advdpnp.attacks.apgd import aimed_dlr, targeted_dlr
from advdpnp.attacks.apgd_step import (
    APGDState,
    APGDStep,
    MomentumState,
    MomentumStep,
    SparseState,
    SparseStep,
    per_image,
)
from advdpnp.attacks.fab import FABT
from advdpnp.attacks.stepwise import (
    ChunkedModel,
    LossGradient,
    NearestSearch,
    Queries,
    chosen,
    rivals,
)
from advdpnp.noise import Noise
from advdpnp.ranges import Count
from advdpnp.threat import Norm, distance

# What a row is doing: steps to the boundary, or Auto-PGD on the cross-entropy or on the DLR of the first target, the
# second, ...
_BOUNDARY, _CROSS_ENTROPY, _DLR = 0, 1, 2


@dataclass
class MinEpsState(APGDState):
    """Rows of the search; the age is that of the row's ascent, or of its steps to the boundary.

    Args:
        nearest: (B, channels, H, W), the nearest adversarial point; the image itself before there is one.
        high: (B,), its distance from the image; inf before there is one.
        low: (B,), the largest radius at which no loss has broken the image.
        radius: (B,), the one that is tried.
        doing: (B,) int64, see `_BOUNDARY`.
        failed: (B,) int64, losses that have failed at the radius.
        tried: (B,) int64, radii that are done.
        rivals: (B, targets) int64, other classes, likeliest first.
        over: (B,) bool.
    """

    nearest: Tensor
    high: Tensor
    low: Tensor
    radius: Tensor
    doing: Tensor
    failed: Tensor
    tried: Tensor
    rivals: Tensor
    over: Tensor


@dataclass
class MomentumSearch(MomentumState, MinEpsState):
    """Rows of the search in linf or l2."""


@dataclass
class SparseSearch(SparseState, MinEpsState):
    """Rows of the search in l1."""


@dataclass(frozen=True, kw_only=True)
class MinEps(NearestSearch[MinEpsState]):
    """The smallest radius at which each image is broken: FAB's steps to the boundary, then bisection over Auto-PGD.

    FAB goes to the boundaries with the likeliest other classes, each from the image. Then radii are tried, between the
    largest that has held and that of the nearest adversarial point: with Auto-PGD on the cross-entropy and on the
    targeted DLR of these classes, one after the other until one breaks the image, beginning with the one that did so
    last. Each ascent starts on the way to the nearest adversarial point. What is found is an upper bound of the true
    smallest radius.

    Args:
        eps: the largest radius that is tried: images that it does not break are censored.
        norm: "linf", "l2" or "l1".
        steps: points at which each ascent asks the network.
        boundary_steps: steps to each boundary.
        bisections: radii that are tried.
        targets: other classes that are aimed at, likeliest first; all of them where there are fewer.
        target: the one class to aim at, in the place of these; None for any wrong class.
    Raises:
        ValueError: restarts other than 1, or fields out of their ranges.
    """

    name: ClassVar[str] = "min-eps"

    norm: Norm = "linf"
    steps: Count = 10
    boundary_steps: Count = 20
    bisections: Count = 10
    targets: Count = 3

    @property
    def length(self) -> int:
        return self.targets * self.boundary_steps + self.bisections * (1 + self.targets) * self.steps

    def target_rank(self, attempt: int) -> int:
        return -1 if self.aims else 0

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> MinEpsState:
        zeros, none = x.new_zeros(len(x)), torch.zeros_like(y)
        kind = SparseSearch if self.norm == "l1" else MomentumSearch
        return kind(
            **_values(self._ascent(zeros).begin(x, x, y, target)),
            nearest=x.clone(),
            high=torch.full_like(zeros, torch.inf),
            low=zeros.clone(),
            radius=zeros.clone(),
            doing=none + _BOUNDARY,
            failed=none.clone(),
            tried=none.clone(),
            rivals=target[:, None].repeat(1, self.targets),
            over=none.bool(),
        )

    def step(self, network: ChunkedModel, state: MinEpsState, noise: Noise) -> Queries:
        point = state.point
        answer = network.gradient(point, self._loss, state.y, state.target, state.doing)
        at_goal = self.succeeded(answer.logits, state)
        self._remember(state, point, at_goal)
        if not self.aims:
            self._rank(state, answer.logits)
        ahead = self._ascent(state.radius).next_point(state, answer)
        state.point = self._toward_boundary(state, answer, point, at_goal, ahead)
        state.age = state.age + 1
        self._go_on(state, at_goal, self._kinds(answer.logits.shape[1]))
        return Queries(point, answer.logits)

    def finished(self, state: MinEpsState, found: Tensor) -> Tensor:
        return state.over

    def _loss(self, logits: Tensor, y: Tensor, target: Tensor, doing: Tensor) -> Tensor:
        if self.aims:
            lead, likelihood = -losses.margin(logits, target), -losses.cross_entropy(logits, target)
            dlr = aimed_dlr(logits, target)
        else:
            lead, likelihood = losses.lead(logits, y, target), losses.cross_entropy(logits, y)
            dlr = targeted_dlr(logits, y, target)
        return torch.where(doing == _BOUNDARY, lead, torch.where(doing == _CROSS_ENTROPY, likelihood, dlr))

    def _kinds(self, num_classes: int) -> int:
        """How many losses are tried at a radius."""
        return 2 if self.aims else 1 + min(self.targets, num_classes - 1)

    def _remember(self, state: MinEpsState, point: Tensor, at_goal: Tensor) -> None:
        length = distance(point, state.x, self.norm)
        nearer = at_goal & (length < state.high)
        state.nearest = torch.where(per_image(nearer), point, state.nearest)
        state.high = torch.where(nearer, length, state.high)

    def _rank(self, state: MinEpsState, logits: Tensor) -> None:
        """Keep the likeliest other classes at the image, where the first steps begin."""
        at_image = (state.doing == _BOUNDARY) & (state.age == 0)
        state.rivals = torch.where(at_image[:, None], rivals(logits, state.y, self.targets), state.rivals)

    def _toward_boundary(
        self, state: MinEpsState, answer: LossGradient, point: Tensor, at_goal: Tensor, ahead: Tensor
    ) -> Tensor:
        """The next points: FAB's of the rows that step to the boundary, `ahead` of all others."""
        rows = (state.doing == _BOUNDARY).nonzero().squeeze(1)
        if len(rows) == 0:
            return ahead
        x, old = state.x[rows], point[rows]
        back = x + (old - x) * self._fab.beta
        forward = self._fab.next_point(x, old, LossGradient(*(values[rows] for values in answer)))
        ahead[rows] = torch.where(per_image(at_goal[rows]), back, forward)
        return ahead

    def _go_on(self, state: MinEpsState, at_goal: Tensor, kinds: int) -> None:
        """Begin what comes next in the rows of which a part of the search is over; `kinds` losses are tried."""
        arrived = self._turn(state, 1 if self.aims else kinds - 1)
        climbing = state.doing != _BOUNDARY
        broken, spent = climbing & at_goal, climbing & ~at_goal & (state.age >= self.steps)
        state.failed = state.failed + spent.long()
        held = spent & (state.failed >= kinds)
        state.low = torch.where(held, state.radius, state.low)
        state.tried = state.tried + (broken | held).long()
        state.over = state.over | (state.tried >= self.bisections) | (held & (state.low >= self.eps))
        self._choose(state, arrived | broken | held)
        following = _CROSS_ENTROPY + (state.doing - _CROSS_ENTROPY + 1) % kinds
        state.doing = torch.where(arrived, _CROSS_ENTROPY, torch.where(spent, following, state.doing))
        self._begin(state, arrived | broken | spent)

    def _turn(self, state: MinEpsState, boundaries: int) -> Tensor:
        """From one boundary to the next, again from the image; (B,) bool, the rows that have been at all of them."""
        due = (state.doing == _BOUNDARY) & (state.age % self.boundary_steps == 0)
        arrived = due & (state.age >= boundaries * self.boundary_steps)
        turned = due & ~arrived
        state.point = torch.where(per_image(turned), state.x, state.point)
        state.target = torch.where(turned, chosen(state.rivals, state.age // self.boundary_steps), state.target)
        return arrived

    def _choose(self, state: MinEpsState, rows: Tensor) -> None:
        """The next radius of `rows`, (B,) bool: the middle, or the largest where nothing has been found within it."""
        middle = torch.where(state.high <= self.eps, (state.low + state.high) / 2, self.eps)
        state.radius = torch.where(rows, middle, state.radius)
        state.failed = torch.where(rows, 0, state.failed)

    def _begin(self, state: MinEpsState, rows: Tensor) -> None:
        """Put `rows`, (B,) bool, at the beginning of an ascent, on the way to the nearest adversarial point."""
        if not rows.any():
            return
        share = (state.radius / state.high).clamp_max(1.0)
        start = (state.x + per_image(share) * (state.nearest - state.x)).clamp(0.0, 1.0)
        rival = chosen(state.rivals, state.doing - _DLR)
        fresh = _values(self._ascent(state.radius).begin(start, state.x, state.y, rival))
        for name, values in fresh.items():
            setattr(state, name, torch.where(rows.view(-1, *[1] * (values.dim() - 1)), values, getattr(state, name)))

    # Which state belongs to which norm is known here only, hence Any.
    def _ascent(self, radius: Tensor) -> APGDStep[Any]:
        if self.norm == "l1":
            return SparseStep(((radius, self.steps),))
        return MomentumStep(self.norm, per_image(radius), self.steps, rho=0.75)

    @cached_property
    def _fab(self) -> FABT:
        return FABT(norm=self.norm, eps=self.eps)


def _values(state: APGDState) -> dict[str, Tensor]:
    return {field.name: getattr(state, field.name) for field in fields(state)}
