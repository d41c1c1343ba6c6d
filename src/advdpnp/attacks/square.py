"""Square Attack (Andriushchenko et al. 2020, arXiv 1912.00049): random search without gradients.

Each query changes a square of the image, and is kept where it lowers the margin of the label.
"""

import functools
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from advdpnp.attacks.square_moves import Bumps, Moves, Squares
from advdpnp.attacks.stepwise import AttackState, ChunkedModel, Queries, StepwiseAttack
from advdpnp.attacks.tried_squares import new_points, untried
from advdpnp.losses import cross_entropy, margin
from advdpnp.noise import Noise
from advdpnp.ranges import Count, Range
from advdpnp.threat import Norm

# The changed share of the image is halved after these many squares (Sec. 3.2), whatever the number of queries.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass
class SquareState(AttackState):
    """A row of Square Attack; the point is the best so far.

    Args:
        loss: (B,) at the point; -inf at age 0.
        drawn: (B,) int64, iterations of earlier attempts at the image, whose draws are not repeated.
        tried: (B, M) bool, see `advdpnp.attacks.tried_squares`.
    """

    loss: Tensor
    drawn: Tensor
    tried: Tensor


@dataclass(frozen=True, kw_only=True)
class Square(StepwiseAttack[SquareState]):
    """Random search with squares on the margin loss, as standard AutoAttack runs it.

    With a target it raises the target's log likelihood, as in the paper (Sec. 3.1).

    Args:
        eps: radius in the units of the norm.
        norm: "linf" (Alg. 2), "l2" (Alg. 3), or "l1" (Croce and Hein 2021).
        steps: squares that are tried; the start takes one query more.
        restarts: independent attempts, each on the images that are still classified correctly.
        p_init: share of the image that the first squares cover.
    Raises:
        ValueError: a field that makes no sense.
    """

    name: ClassVar[str] = "square"
    scale_free: ClassVar[bool] = True
    cost: ClassVar[float] = 0.45

    norm: Norm = "linf"
    steps: Count = 5000
    p_init: Annotated[float, Range("(0, 1]", "a share of the image")] = 0.8

    @property
    def length(self) -> int:
        return self.steps + 1

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> SquareState:
        age, drawn = torch.zeros_like(y), torch.full_like(y, attempt * self.length)
        point, loss = self._moves.start(x, noise.at(drawn)), x.new_full(y.shape, -torch.inf)
        return SquareState(x, y, target, point, age, loss, drawn, untried(self._moves, x))

    def step(self, network: ChunkedModel, state: SquareState, noise: Noise) -> Queries:
        noise, moves = noise.at(state.drawn + state.age), self._moves
        if network.repeats and isinstance(moves, Squares) and state.tried.shape[1]:
            queries = self._ask_about_new_points(network, state, moves, noise)
        else:
            queries = self._ask(network, state, noise)
        state.age = state.age + 1
        return queries

    def _ask(self, network: ChunkedModel, state: SquareState, noise: Noise) -> Queries:
        """Try one more square in every row."""
        points = self._proposals(state, noise)
        logits = network.logits(points)
        loss = self._loss(logits, state.y, state.target).to(state.loss.dtype)
        better = loss > state.loss
        state.point = torch.where(better.view(-1, 1, 1, 1), points, state.point)
        state.loss = torch.where(better, loss, state.loss)
        return Queries(points, logits)

    def _ask_about_new_points(self, network: ChunkedModel, state: SquareState, moves: Squares, noise: Noise) -> Queries:
        """The same, by a network that answers alike every time: it is not asked about points that it was asked about.

        None of them is better than the best.
        """
        sides = self._sides_of(state)
        asked = torch.zeros_like(state.y, dtype=torch.bool)
        rows, new = new_points(moves, state, sides, sides != self._sides_of(state, before=1), noise)
        if len(rows) == 0:
            return Queries(state.point, state.loss[:, None], asked)
        points, answers, asked[rows] = state.point.index_copy(0, rows, new), network.logits_of(new, rows), True
        loss = self._loss(answers, state.y[rows], state.target[rows]).to(state.loss.dtype)
        better = loss > state.loss[rows]
        won = rows[better]
        state.point[won], state.loss[won], state.tried[won] = new[better], loss[better], False
        return Queries(points, answers.new_zeros(len(points), answers.shape[1]).index_copy_(0, rows, answers), asked)

    def _loss(self, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        return -cross_entropy(logits, target) if self.aims else margin(logits, y)

    def _proposals(self, state: SquareState, noise: Noise) -> Tensor:
        """The points to evaluate: with one more square, but at age 0 the start itself."""
        points = self._moves.proposals(state.x, state.point, self._sides_of(state), noise)
        if self.norm == "linf":
            # A square of side 0 changes nothing.
            return points
        return torch.where((state.age == 0).view(-1, 1, 1, 1), state.point, points)

    def _sides_of(self, state: SquareState, before: int = 0) -> Tensor:
        """Sides of the squares, or of those so many iterations before: (B,) int64."""
        age = (state.age - before).clamp_min(0) if before else state.age
        return _sides(self, *state.x.shape[2:], state.x.device)[age]

    @functools.cached_property
    def _moves(self) -> Moves:
        return Squares(self.eps) if self.norm == "linf" else Bumps(self.norm, self.eps)


@functools.cache
def _sides(attack: Square, height: int, width: int, device: torch.device) -> Tensor:
    """Side of the square at each age: (length,) int64; 0 at age 0."""
    squares = range(attack.steps)
    shares = [attack.p_init / 2 ** sum(square > end for end in _HALVINGS) for square in squares]
    sides = [round(math.sqrt(share * height * width)) for share in shares]
    # Bumps have a middle, so their sides are odd and at least 3.
    sides = [max(side, 1) if attack.norm == "linf" else max(side, 3) | 1 for side in sides]
    return torch.tensor([0, *(min(side, height, width) for side in sides)], device=device)
