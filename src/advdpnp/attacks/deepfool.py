"""DeepFool (Moosavi-Dezfooli et al. 2016): steps to the nearest of the linearized boundaries, until one is crossed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advdpnp import losses
from advdpnp.attacks.apgd_step import per_image
from advdpnp.attacks.stepwise import (
    AttackState,
    ChunkedModel,
    LossGradient,
    NearestSearch,
    Queries,
    chosen,
    rivals,
)
from advdpnp.noise import Noise
from advdpnp.ranges import Count, NonNegative
from advdpnp.threat import Ball, ThreatModel

# By how much a step is longer than the way to the plane where the box has cut the iterate, in the units of the norm:
# such steps would else only come nearer and nearer to the boundary. In the authors' code all steps are longer by that.
_BEYOND = 1e-4


@dataclass
class DeepFoolState(AttackState):
    """Rows of the search; one boundary is looked at in each call of `step`.

    Args:
        total: (B, channels, H, W), the sum of all steps so far.
        direction: (B, channels, H, W), of unit norm, to the nearest of the boundaries that were looked at from here.
        shortest: (B,), how far that is; inf before the first.
        rivals: (B, targets) int64, other classes, likeliest first at the image.
        over: (B,) bool.
    """

    total: Tensor
    direction: Tensor
    shortest: Tensor
    rivals: Tensor
    over: Tensor


@dataclass(frozen=True, kw_only=True)
class DeepFool(NearestSearch[DeepFoolState]):
    """Steps to the nearest linearized boundary with another class, added up and stretched by the overshoot.

    It seeks a near adversarial image of any radius and ends at the first one; `eps` decides which ones count. On an
    affine classifier it is the nearest one, times 1 + overshoot. The paper has no box: as in the usual codes the steps
    know of none, and the iterate is cut to [0, 1].

    Args:
        eps: radius in the units of the norm.
        norm: "l2" or "linf".
        steps: moves, at most; each looks at all boundaries once.
        targets: other classes whose boundaries are looked at, the likeliest at the image; all where there are fewer.
        overshoot: by what share of the way the point is put beyond the boundary.
        target: the one class to aim at, in the place of these: steps to its boundary with whichever other class is the
            likeliest; None for any wrong class.
    Raises:
        ValueError: restarts other than 1, or fields out of their ranges.
    """

    name: ClassVar[str] = "deepfool"

    norm: Ball = "linf"
    steps: Count = 50
    targets: Count = 9
    overshoot: NonNegative = 0.02

    @property
    def length(self) -> int:
        # The last look finds whether the last move has crossed a boundary.
        return self.steps * (1 if self.aims else self.targets) + 1

    def target_rank(self, attempt: int) -> int:
        # The likeliest class is the first whose boundary is looked at.
        return -1 if self.aims else 0

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> DeepFoolState:
        none = torch.zeros_like(y)
        return DeepFoolState(
            x=x,
            y=y,
            target=target,
            point=x.clone(),
            age=none,
            total=torch.zeros_like(x),
            direction=torch.zeros_like(x),
            shortest=x.new_full((len(x),), torch.inf),
            rivals=target[:, None].repeat(1, self.targets),
            over=none.bool(),
        )

    def step(self, network: ChunkedModel, state: DeepFoolState, noise: Noise) -> Queries:
        boundaries = 1 if self.aims else self.targets
        place = state.age % boundaries
        rival = state.target if self.aims else chosen(state.rivals, place)
        point, answer = state.point, network.gradient(state.point, self._loss, state.y, rival)
        if not self.aims:
            at_image = (state.age == 0)[:, None]
            state.rivals = torch.where(at_image, rivals(answer.logits, state.y, self.targets), state.rivals)
        state.over = state.over | self.succeeded(answer.logits, state)
        state.age = state.age + 1
        self._look(state, answer)
        self._move(state, (place == boundaries - 1) & ~state.over)
        return Queries(point, answer.logits)

    def finished(self, state: DeepFoolState, found: Tensor) -> Tensor:
        return state.over

    def _loss(self, logits: Tensor, y: Tensor, rival: Tensor) -> Tensor:
        return -losses.margin(logits, rival) if self.aims else losses.lead(logits, y, rival)

    def _look(self, state: DeepFoolState, answer: LossGradient) -> None:
        """Keep the way to the boundary that `answer` is about, where it is the shortest from here."""
        direction = ThreatModel(self.norm, 0.0).step(answer.gradient)
        # How fast the loss rises along it: the dual norm of the gradient. Without a gradient there is no way.
        slope = (answer.gradient * direction).flatten(1).sum(dim=1)
        length = torch.where(slope > 0, answer.loss.abs() / slope, torch.inf)
        nearer = length < state.shortest
        state.direction = torch.where(per_image(nearer), direction, state.direction)
        state.shortest = torch.where(nearer, length, state.shortest)

    def _move(self, state: DeepFoolState, rows: Tensor) -> None:
        """Take the shortest way in `rows`, (B,) bool, and begin to look around again."""
        cut = (self._stretched(state) != state.point).flatten(1).any(dim=1)
        length = torch.where(cut, state.shortest + _BEYOND, state.shortest)
        # Where there is no way there is no step.
        length = torch.where(rows & length.isfinite(), length, 0.0)
        state.total = state.total + per_image(length) * state.direction
        state.point = torch.where(per_image(rows), self._stretched(state).clamp(0.0, 1.0), state.point)
        state.direction = torch.where(per_image(rows), 0.0, state.direction)
        state.shortest = torch.where(rows, torch.inf, state.shortest)

    def _stretched(self, state: DeepFoolState) -> Tensor:
        return state.x + (1 + self.overshoot) * state.total
