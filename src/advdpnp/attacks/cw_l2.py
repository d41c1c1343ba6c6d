"""The l2 attack of Carlini and Wagner (2017): the nearest adversarial image by Adam, weighed against the margin."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from advdpnp import losses
from advdpnp.attacks.apgd_step import per_image
from advdpnp.attacks.stepwise import AttackState, ChunkedModel, NearestSearch, Queries
from advdpnp.noise import Noise
from advdpnp.ranges import Count, NonNegative, Positive

# Adam's (Kingma and Ba 2015).
_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8
# How far inside of the box the variable is, which would be infinite at 0 and 1, and its growth before it is bounded.
_INSIDE, _GROWTH = 0.999999, 10.0
# Where Adam makes no progress: it ends if the objective is above this share of what it was a tenth of the steps ago.
_STALLED, _CHECKS = 0.9999, 10
# How far Adam can have gone before a descent that has not reached the goal is given up: from an end of the box to its
# middle, in w. Until then pixels that begin at an end hardly move, and that looks like no progress.
_WAY = math.atanh(_INSIDE)


@dataclass
class CarliniWagnerL2State(AttackState):
    """Rows of the search; the age is that of the row's descent.

    Args:
        variable: (B, channels, H, W), w of the change of variable x' = (tanh(w) + 1) / 2.
        mean, square: (B, channels, H, W), Adam's running moments.
        weight: (B,), c of the objective ||x' - x||^2 + c f(x').
        low, high: (B,), the largest c that has failed and the smallest that has not; inf before there is one.
        crossed: (B,) bool, whether this descent has been at the goal.
        objective: (B,), at the last check; inf before there is one.
        searched: (B,) int64, descents that are over.
    """

    variable: Tensor
    mean: Tensor
    square: Tensor
    weight: Tensor
    low: Tensor
    high: Tensor
    crossed: Tensor
    objective: Tensor
    searched: Tensor


@dataclass(frozen=True, kw_only=True)
class CarliniWagnerL2(NearestSearch[CarliniWagnerL2State]):
    """The nearest adversarial image in l2: Adam on ||x' - x||^2 + c f(x'), and a binary search over c.

    f is max(z_y - max_{k != y} z_k, 0), or with a target max(max_{k != t} z_k - z_t, 0) (f_6 of the paper), without
    confidence. The image is (tanh(w) + 1) / 2, so that it stays in [0, 1]. The nearest adversarial point counts;
    `eps` decides which ones are near enough.

    Args:
        eps: radius in l2.
        norm: "l2".
        steps: steps of Adam for each c; it ends where it stalls.
        bisections: values of c that are tried.
        learning_rate: of Adam, on w.
        first_weight: the first c; ten times as much is tried until one succeeds, then the middle of the bounds.
        target: class to aim at; None for any wrong class.
    Raises:
        ValueError: another norm, restarts other than 1, or fields out of their ranges.
    """

    name: ClassVar[str] = "cw-l2"

    eps: NonNegative = 0.5
    norm: Literal["l2"] = "l2"
    steps: Count = 1000
    bisections: Count = 9
    learning_rate: Positive = 0.01
    first_weight: Positive = 0.001

    @property
    def length(self) -> int:
        return self.bisections * self.steps

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> CarliniWagnerL2State:
        zeros, none = x.new_zeros(len(x)), torch.zeros_like(y)
        variable = _variable(x)
        return CarliniWagnerL2State(
            x=x,
            y=y,
            target=target,
            point=_image(variable),
            age=none,
            variable=variable,
            mean=torch.zeros_like(x),
            square=torch.zeros_like(x),
            weight=zeros + self.first_weight,
            low=zeros.clone(),
            high=zeros + torch.inf,
            crossed=none.bool(),
            objective=zeros + torch.inf,
            searched=none.clone(),
        )

    def step(self, network: ChunkedModel, state: CarliniWagnerL2State, noise: Noise) -> Queries:
        point = state.point
        answer = network.gradient(point, self._loss, state.y, state.target)
        state.crossed = state.crossed | self.succeeded(answer.logits, state)
        difference = point - state.x
        objective = difference.flatten(1).square().sum(dim=1) + state.weight * answer.loss
        in_point = 2 * difference + per_image(state.weight) * answer.gradient
        # The derivative of the change of variable, (1 - tanh(w)^2) / 2.
        self._descend(state, in_point * 2 * point * (1 - point))
        self._go_on(state, objective)
        return Queries(point, answer.logits)

    def finished(self, state: CarliniWagnerL2State, found: Tensor) -> Tensor:
        return state.searched >= self.bisections

    def _loss(self, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        margin = losses.margin(logits, target) if self.aims else -losses.margin(logits, y)
        return margin.clamp_min(0)

    def _descend(self, state: CarliniWagnerL2State, gradient: Tensor) -> None:
        """One step of Adam."""
        state.age = state.age + 1
        age = per_image(state.age)
        state.mean = _BETA_1 * state.mean + (1 - _BETA_1) * gradient
        state.square = _BETA_2 * state.square + (1 - _BETA_2) * gradient.square()
        mean, square = state.mean / (1 - _BETA_1**age), state.square / (1 - _BETA_2**age)
        state.variable = state.variable - self.learning_rate * mean / (square.sqrt() + _TINY)
        state.point = _image(state.variable)

    def _go_on(self, state: CarliniWagnerL2State, objective: Tensor) -> None:
        """Begin again with another c in the rows of which the descent is over."""
        due = state.age % max(self.steps // _CHECKS, 1) == 0
        settled = state.crossed | (state.age * self.learning_rate > _WAY)
        over = (state.age >= self.steps) | (due & settled & (objective > _STALLED * state.objective))
        state.objective = torch.where(due, objective, state.objective)
        if not over.any():
            state.crossed = state.crossed & ~due
            return
        state.high = torch.where(over & state.crossed, torch.minimum(state.high, state.weight), state.high)
        state.low = torch.where(over & ~state.crossed, torch.maximum(state.low, state.weight), state.low)
        following = torch.where(state.high < torch.inf, (state.low + state.high) / 2, _GROWTH * state.weight)
        state.weight = torch.where(over, following, state.weight)
        state.searched = state.searched + over.long()
        rows = per_image(over)
        state.variable = torch.where(rows, _variable(state.x), state.variable)
        state.point = torch.where(rows, _image(state.variable), state.point)
        state.mean, state.square = torch.where(rows, 0.0, state.mean), torch.where(rows, 0.0, state.square)
        state.age = torch.where(over, 0, state.age)
        state.crossed = state.crossed & ~due
        state.objective = torch.where(over, torch.inf, state.objective)


def _variable(x: Tensor) -> Tensor:
    """w of (tanh(w) + 1) / 2 = x, of pixels that are a little inside of [0, 1]."""
    return torch.atanh((2 * x - 1) * _INSIDE)


def _image(variable: Tensor) -> Tensor:
    """(tanh(w) + 1) / 2, in [0, 1]."""
    return (variable.tanh() + 1) / 2
