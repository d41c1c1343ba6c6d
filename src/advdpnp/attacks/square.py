"""Square Attack (Andriushchenko et al. 2020, arXiv 1912.00049): random search without gradients.

Each query changes a square of the image, and is kept where it lowers the margin of the label.
"""

import functools
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.attacks.stepwise import AttackState, ChunkedModel, Queries, StepwiseAttack
from advdpnp.losses import cross_entropy, margin
from advdpnp.noise import Noise
from advdpnp.ranges import Count, Range
from advdpnp.threat import Ball, ThreatModel

# The changed share of the image is halved after these many squares (Sec. 3.2), whatever the number of queries.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass
class SquareState(AttackState):
    """A row of Square Attack; the point is the best so far.

    Args:
        loss: (B,) at the point; -inf at age 0.
        drawn: (B,) int64, iterations of earlier attempts at the image, whose draws are not repeated.
    """

    loss: Tensor
    drawn: Tensor


@dataclass(frozen=True, kw_only=True)
class Square(StepwiseAttack[SquareState]):
    """Random search with squares on the margin loss, as standard AutoAttack runs it.

    With a target it raises the target's log likelihood, as in the paper (Sec. 3.1).

    Args:
        eps: radius in the units of the norm.
        norm: "linf" (Alg. 2) or "l2" (Alg. 3).
        steps: squares that are tried; the start takes one query more.
        restarts: independent attempts, each on the images that are still classified correctly.
        p_init: share of the image that the first squares cover.
    Raises:
        ValueError: a field that makes no sense.
    """

    name: ClassVar[str] = "square"
    scale_free: ClassVar[bool] = True
    cost: ClassVar[float] = 0.45

    norm: Ball = "linf"
    steps: Count = 5000
    p_init: Annotated[float, Range("(0, 1]", "a share of the image")] = 0.8

    @property
    def length(self) -> int:
        return self.steps + 1

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> SquareState:
        age = torch.zeros_like(y)
        drawn = torch.full_like(y, attempt * self.length)
        start = _stripes if self.norm == "linf" else _tiles
        point = start(x, self.eps, noise.at(drawn))
        return SquareState(x, y, target, point, age, x.new_full(y.shape, -torch.inf), drawn)

    def step(self, network: ChunkedModel, state: SquareState, noise: Noise) -> Queries:
        points = self._proposals(state, noise.at(state.drawn + state.age))
        logits = network.logits(points)
        loss = self._loss(logits, state).to(state.loss.dtype)
        better = loss > state.loss
        state.point = torch.where(better.view(-1, 1, 1, 1), points, state.point)
        state.loss = torch.where(better, loss, state.loss)
        state.age = state.age + 1
        return Queries(points, logits)

    def _loss(self, logits: Tensor, state: SquareState) -> Tensor:
        return -cross_entropy(logits, state.target) if self.aims else margin(logits, state.y)

    def _proposals(self, state: SquareState, noise: Noise) -> Tensor:
        """The points to evaluate: with one more square, but at age 0 the start itself."""
        sides = _sides(self, *state.x.shape[2:], state.x.device)[state.age]
        change = _with_squares if self.norm == "linf" else _with_bumps
        points = change(state.x, state.point, self.eps, sides, noise)
        return torch.where((state.age == 0).view(-1, 1, 1, 1), state.point, points)


@functools.cache
def _sides(attack: Square, height: int, width: int, device: torch.device) -> Tensor:
    """Side of the square at each age: (length,) int64; 0 at age 0."""
    squares = range(attack.steps)
    shares = [attack.p_init / 2 ** sum(square > end for end in _HALVINGS) for square in squares]
    sides = [round(math.sqrt(share * height * width)) for share in shares]
    # Bumps have a middle, so their sides are odd and at least 3.
    sides = [max(side, 1) if attack.norm == "linf" else max(side, 3) | 1 for side in sides]
    return torch.tensor([0, *(min(side, height, width) for side in sides)], device=device)


def _signs(uniforms: Tensor) -> Tensor:
    """Uniforms in [0, 1) -> -1 or 1."""
    return torch.sign(2 * uniforms - 1)


def _corners(x: Tensor, sides: Tensor, uniforms: Tensor) -> Tensor:
    """Row and column of a square's first pixel: (B, 2) uniforms in [0, 1) -> (B, 2) int64.

    As in the official code, no square but those without room touches the last row or column.
    """
    room = torch.stack([x.shape[2] - sides, x.shape[3] - sides], dim=1)
    return (room * uniforms).long()


def _square(x: Tensor, sides: Tensor, corners: Tensor) -> Tensor:
    """Which pixels are in a square: (B,), (B, 2) -> (B, 1, H, W) bool."""
    rows = _interval(x.shape[2], corners[:, 0], sides)
    columns = _interval(x.shape[3], corners[:, 1], sides)
    return rows[:, None, :, None] & columns[:, None, None, :]


def _interval(size: int, first: Tensor, length: Tensor) -> Tensor:
    """(B,), (B,) -> (B, size) bool."""
    after = torch.arange(size, device=first.device) - first[:, None]
    return (after >= 0) & (after < length[:, None])


def _stripes(x: Tensor, eps: float, noise: Noise) -> Tensor:
    """The start of Alg. 2: vertical stripes of one pixel at the corners of the ball."""
    signs = _signs(noise.uniform("stripes", (x.shape[1], 1, x.shape[3])))
    return torch.clamp(x + eps * signs, 0.0, 1.0)


def _with_squares(x: Tensor, point: Tensor, eps: float, sides: Tensor, noise: Noise) -> Tensor:
    """Alg. 2: a square in which each channel goes to an end of the ball."""
    draws = noise.uniform("square", (2 + x.shape[1],))
    square = _square(x, sides, _corners(x, sides, draws[:, :2]))
    moves = 2 * eps * _signs(draws[:, 2:, None, None])
    return _linf_ball(eps).project(torch.addcmul(point, moves, square.to(x.dtype)), x)


@functools.cache
def _linf_ball(eps: float) -> ThreatModel:
    return ThreatModel("linf", eps)


def _tiles(x: Tensor, eps: float, noise: Noise) -> Tensor:
    """The start of Alg. 3: a grid of bumps of random directions and signs, as long as the ball is wide."""
    batch, channels, height, width = x.shape
    side, top, left = _grid(height, width)
    down, across = height // side, width // side
    tiles = [
        _signed_bumps(side, noise.uniform(f"tile-{i}/turn", ()), noise.uniform(f"tile-{i}/sign", (channels,)))
        for i in range(down * across)
    ]
    grid = torch.stack(tiles, dim=2).view(batch, channels, down, across, side, side)
    grid = grid.transpose(3, 4).reshape(batch, channels, down * side, across * side)
    # What reaches beyond the image is cut off.
    delta = functional.pad(grid.to(x.dtype), (left, width - grid.shape[3] - left, top, height - grid.shape[2] - top))
    return _on_the_sphere(x, delta, eps)


def _grid(height: int, width: int) -> tuple[int, int, int]:
    """Side of the start's tiles, and where the first one begins: (side, top, left)."""
    side = height // 5
    if 1 <= side <= width:
        first = (height - 5 * side) // 2
        return side, first, first
    # The official code has no start on such images.
    side = max(min(height, width) // 5, 1)
    return side, height % side // 2, width % side // 2


def _with_bumps(x: Tensor, point: Tensor, eps: float, sides: Tensor, noise: Noise) -> Tensor:
    """Alg. 3: a bump in one square, paid for by another that is put to 0."""
    draws, signs = noise.uniform("square", (5,)), noise.uniform("sign", (x.shape[1],))
    corners = _corners(x, sides, draws[:, :2])
    one, other = _square(x, sides, corners), _square(x, sides, _corners(x, sides, draws[:, 2:4]))
    delta = point - x
    length = _length_to_spend(delta, one | other, eps)
    # Rows with squares of one size together: sums over a square then have one order, whatever rows are beside it.
    # It costs a wait of the host; there are few sizes.
    for side in set(sides.tolist()):
        rows = (sides == side).nonzero().squeeze(1)
        window = _window(x, rows, side, corners[rows])
        old = delta[window]
        bump = _signed_bumps(side, draws[rows, 4], signs[rows]) + old / (1e-12 + _length(old, (2, 3)))
        delta[window] = bump / (1e-12 + _length(bump, (2, 3))) * length[rows]
    return _on_the_sphere(x, delta.masked_fill_(other & ~one, 0.0), eps)


def _length_to_spend(delta: Tensor, touched: Tensor, eps: float) -> Tensor:
    """Length of each channel's new square: what the touched pixels have, and a share of what the ball leaves unused.

    (B, channels, H, W), (B, 1, H, W) bool -> (B, channels, 1, 1).
    """
    squares = delta.square()
    whole = squares.sum(dim=(1, 2, 3), keepdim=True).sqrt()
    unused = torch.clamp((eps * torch.ones_like(whole)) ** 2 - whole**2, min=0.0)
    freed = squares.mul_(touched).sum(dim=(2, 3), keepdim=True).sqrt()
    return (unused / delta.shape[1] + freed**2).sqrt()


def _window(x: Tensor, rows: Tensor, side: int, corners: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Indices of the squares of k rows: (k,), (k, 2); x[window] is (k, channels, side, side)."""
    channels = torch.arange(x.shape[1], device=x.device)
    inside = corners[:, :, None] + torch.arange(side, device=x.device)
    return rows.view(-1, 1, 1, 1), channels[:, None, None], inside[:, 0, None, :, None], inside[:, 1, None, None, :]


def _length(delta: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Euclidean length over the dimensions, which are kept."""
    return (delta**2).sum(dim=dims, keepdim=True).sqrt()


def _on_the_sphere(x: Tensor, delta: Tensor, eps: float) -> Tensor:
    """x + delta, scaled to length eps and cut off at the box; in place of delta."""
    return delta.div_(_length(delta, (1, 2, 3)) + 1e-12).mul_(eps).add_(x).clamp_(0.0, 1.0)


def _signed_bumps(side: int, turn: Tensor, signs: Tensor) -> Tensor:
    """(B,) uniforms of the direction, (B, channels) uniforms of the signs -> (B, channels, side, side)."""
    return _bumps(side, signs.device)[(turn > 0.5).long(), None] * _signs(signs)[:, :, None, None]


@functools.cache
def _bumps(side: int, device: torch.device) -> Tensor:
    """Eq. 2: two peaks of opposite signs, one above the other and side by side, of unit length: (2, side, side)."""
    bump = torch.cat([_peak(side // 2, side), -_peak(side - side // 2, side)])
    bump /= (bump**2).sum().sqrt()
    return torch.stack([bump, bump.T]).to(device)


def _peak(height: int, width: int) -> Tensor:
    """Squares around the middle, the n-th of them of weight 1 / n^2, as far as they are inside: (height, width)."""
    away = torch.maximum(
        (torch.arange(height) - height // 2).abs()[:, None], (torch.arange(width) - width // 2).abs()[None, :]
    )
    # It is kept for later calls, so not in what torch's default happens to be.
    peak = torch.zeros(height, width, dtype=torch.float32)
    for ring in range(max(height, width) // 2 + 1):
        peak += (away <= ring).to(peak.dtype) / (ring + 1) ** 2
    return peak / (peak**2).sum().sqrt()
