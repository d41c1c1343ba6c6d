"""Where Square Attack starts, and what it tries next, in each norm.

In linf squares at the ends of the ball (Andriushchenko et al. 2020, Alg. 2); in l2 bumps that are paid for with what
another square had (Alg. 3); in l1 sparser bumps, with the projection into ball and box (Croce and Hein 2021, A.2).
"""

import functools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.noise import Noise
from advdpnp.threat import Norm, ThreatModel, into_l1_ball

# How fast the squares around the middle of a bump fall off: the n-th of them has weight 1 / n^power.
_FALL = {"l2": 2, "l1": 4}


class Moves(Protocol):
    """How a search begins and goes on in a norm."""

    def start(self, x: Tensor, noise: Noise) -> Tensor:
        """The first points: (B, channels, H, W)."""

    def proposals(self, x: Tensor, point: Tensor, sides: Tensor, noise: Noise) -> Tensor:
        """The points with one more square of these sides, (B,) int64: (B, channels, H, W)."""


@dataclass(frozen=True)
class Squares:
    """Squares in linf.

    Args:
        eps: radius.
    """

    eps: float

    def start(self, x: Tensor, noise: Noise) -> Tensor:
        """Vertical stripes of one pixel at the corners of the ball."""
        signs = _signs(noise.uniform("stripes", (x.shape[1], 1, x.shape[3])))
        return torch.clamp(x + self.eps * signs, 0.0, 1.0)

    def proposals(self, x: Tensor, point: Tensor, sides: Tensor, noise: Noise) -> Tensor:
        """A square in which each channel goes to an end of the ball."""
        return self.moved(x, point, sides, self.draws(x, noise))

    def draws(self, x: Tensor, noise: Noise) -> Tensor:
        """Uniforms of the squares' places, and of the signs of their channels: (B, 2 + channels)."""
        return noise.uniform("square", (2 + x.shape[1],))

    def moved(self, x: Tensor, point: Tensor, sides: Tensor, draws: Tensor) -> Tensor:
        """The points with the squares of these draws."""
        square = _square(x, sides, _corners(x, sides, draws[:, :2]))
        moves = 2 * self.eps * _signs(draws[:, 2:, None, None])
        return self._ball.project(torch.addcmul(point, moves, square.to(x.dtype)), x)

    def places(self, x: Tensor) -> int:
        """How many squares of one side there are, with their signs."""
        channels, height, width = x.shape[1:]
        return height * width * (1 << channels)

    def place(self, x: Tensor, sides: Tensor, draws: Tensor) -> Tensor:
        """Which of them a draw is: (B,) int64 in [0, places)."""
        corners, ups = _corners(x, sides, draws[:, :2]), (draws[:, 2:] > 0.5).long()
        number = corners[:, 0] * x.shape[3] + corners[:, 1]
        for channel in range(x.shape[1]):
            number = 2 * number + ups[:, channel]
        return number

    @functools.cached_property
    def _ball(self) -> ThreatModel:
        return ThreatModel("linf", self.eps)


@dataclass(frozen=True)
class Bumps:
    """Bumps in l2 and l1.

    Args:
        norm: "l2" or "l1".
        eps: radius.
    """

    norm: Norm
    eps: float

    def start(self, x: Tensor, noise: Noise) -> Tensor:
        """A grid of bumps of random directions and signs, as long as the ball is wide."""
        batch, channels, height, width = x.shape
        side, top, left = _grid(height, width)
        down, across = height // side, width // side
        tiles = [
            self._signed(side, noise.uniform(f"tile-{i}/turn", ()), noise.uniform(f"tile-{i}/sign", (channels,)))
            for i in range(down * across)
        ]
        grid = torch.stack(tiles, dim=2).view(batch, channels, down, across, side, side)
        grid = grid.transpose(3, 4).reshape(batch, channels, down * side, across * side)
        # What reaches beyond the image is cut off.
        beyond = (left, width - grid.shape[3] - left, top, height - grid.shape[2] - top)
        return self._inside(x, functional.pad(grid.to(x.dtype), beyond))

    def proposals(self, x: Tensor, point: Tensor, sides: Tensor, noise: Noise) -> Tensor:
        """A bump in one square, paid for by another that is put to 0."""
        draws, signs = noise.uniform("square", (5,)), noise.uniform("sign", (x.shape[1],))
        corners = _corners(x, sides, draws[:, :2])
        one, other = _square(x, sides, corners), _square(x, sides, _corners(x, sides, draws[:, 2:4]))
        delta = point - x
        length = self._length_to_spend(delta, one | other)
        # Rows with squares of one size together: sums over a square then have one order, whatever rows are beside it.
        # It costs a wait of the host; there are few sizes.
        for side in set(sides.tolist()):
            rows = (sides == side).nonzero().squeeze(1)
            window = _window(x, rows, side, corners[rows])
            old = delta[window]
            bump = self._signed(side, draws[rows, 4], signs[rows]) + old / (1e-12 + self._length(old, (2, 3)))
            delta[window] = bump / (1e-12 + self._length(bump, (2, 3))) * length[rows]
        return self._inside(x, delta.masked_fill_(other & ~one, 0.0))

    def _length_to_spend(self, delta: Tensor, touched: Tensor) -> Tensor:
        """Length of each channel's square: what the touched pixels have, and a share of what the ball leaves unused.

        In l1 as many times that as there are channels, of which the projection takes back what is too much.
        (B, channels, H, W), (B, 1, H, W) bool -> (B, channels, 1, 1).
        """
        channels = delta.shape[1]
        if self.norm == "l1":
            sizes = delta.abs()
            unused = (self.eps - sizes.sum(dim=(1, 2, 3), keepdim=True)).clamp_min(0)
            return (unused / channels + sizes.mul_(touched).sum(dim=(2, 3), keepdim=True)) * channels
        squares = delta.square()
        whole = squares.sum(dim=(1, 2, 3), keepdim=True).sqrt()
        unused = torch.clamp((self.eps * torch.ones_like(whole)) ** 2 - whole**2, min=0.0)
        freed = squares.mul_(touched).sum(dim=(2, 3), keepdim=True).sqrt()
        return (unused / channels + freed**2).sqrt()

    def _inside(self, x: Tensor, delta: Tensor) -> Tensor:
        """x + delta in ball and box: in l2 as long as the ball is wide, and cut off; may write to delta."""
        if self.norm == "l1":
            # As the official code has it: a little less than the radius, lest rounding exceed it.
            return (x + delta + into_l1_ball(delta, x, self.eps * (1.0 - 1e-6))).clamp_(0.0, 1.0)
        return delta.div_(self._length(delta, (1, 2, 3)) + 1e-12).mul_(self.eps).add_(x).clamp_(0.0, 1.0)

    def _length(self, delta: Tensor, dims: tuple[int, ...]) -> Tensor:
        """In the norm, over the dimensions, which are kept."""
        return _length(delta, dims, self.norm)

    def _signed(self, side: int, turn: Tensor, signs: Tensor) -> Tensor:
        """(B,) uniforms of the direction, (B, channels) uniforms of the signs -> (B, channels, side, side)."""
        return _bumps(side, self.norm, signs.device)[(turn > 0.5).long(), None] * _signs(signs)[:, :, None, None]


def _signs(uniforms: Tensor) -> Tensor:
    """Uniforms in [0, 1) -> -1 or 1."""
    return torch.sign(2 * uniforms - 1)


def _corners(x: Tensor, sides: Tensor, uniforms: Tensor) -> Tensor:
    """Row and column of a square's first pixel: (B, 2) uniforms in [0, 1) -> (B, 2) int64.

    As in the official code, no square but those without room touches the last row or column.
    """
    height, width = x.shape[2:]
    room = (height - sides)[:, None] if height == width else torch.stack([height - sides, width - sides], dim=1)
    return (room * uniforms).long()


def _square(x: Tensor, sides: Tensor, corners: Tensor) -> Tensor:
    """Which pixels are in a square: (B,), (B, 2) -> (B, 1, H, W) bool."""
    height, width = x.shape[2:]
    if height == width:
        # Both at once: (B, 2, size), for half of the calls.
        inside = _interval(height, corners, sides[:, None])
        return inside[:, 0, None, :, None] & inside[:, 1, None, None, :]
    rows = _interval(height, corners[:, 0], sides)
    columns = _interval(width, corners[:, 1], sides)
    return rows[:, None, :, None] & columns[:, None, None, :]


def _interval(size: int, first: Tensor, length: Tensor) -> Tensor:
    """(...), (...) -> (..., size) bool."""
    after = _places(size, first.device) - first[..., None]
    return (after >= 0) & (after < length[..., None])


@functools.cache
def _places(size: int, device: torch.device) -> Tensor:
    return torch.arange(size, device=device)


def _grid(height: int, width: int) -> tuple[int, int, int]:
    """Side of the start's tiles, and where the first one begins: (side, top, left)."""
    side = height // 5
    if 1 <= side <= width:
        first = (height - 5 * side) // 2
        return side, first, first
    # The official code has no start on such images.
    side = max(min(height, width) // 5, 1)
    return side, height % side // 2, width % side // 2


def _window(x: Tensor, rows: Tensor, side: int, corners: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Indices of the squares of k rows: (k,), (k, 2); x[window] is (k, channels, side, side)."""
    channels = torch.arange(x.shape[1], device=x.device)
    inside = corners[:, :, None] + torch.arange(side, device=x.device)
    return rows.view(-1, 1, 1, 1), channels[:, None, None], inside[:, 0, None, :, None], inside[:, 1, None, None, :]


def _length(delta: Tensor, dims: tuple[int, ...], norm: Norm) -> Tensor:
    """Length in l2 or l1 over the dimensions, which are kept."""
    return delta.abs().sum(dim=dims, keepdim=True) if norm == "l1" else (delta**2).sum(dim=dims, keepdim=True).sqrt()


@functools.cache
def _bumps(side: int, norm: Norm, device: torch.device) -> Tensor:
    """Eq. 2: two peaks of opposite signs, one above the other and side by side, of unit length: (2, side, side)."""
    bump = torch.cat([_peak(side // 2, side, norm), -_peak(side - side // 2, side, norm)])
    bump /= _length(bump, (0, 1), norm)
    return torch.stack([bump, bump.T]).to(device)


def _peak(height: int, width: int, norm: Norm) -> Tensor:
    """Squares around the middle, the n-th of them of weight 1 / n^power, as far as they are inside: (height, width)."""
    away = torch.maximum(
        (torch.arange(height) - height // 2).abs()[:, None], (torch.arange(width) - width // 2).abs()[None, :]
    )
    # It is kept for later calls, so not in what torch's default happens to be.
    peak = torch.zeros(height, width, dtype=torch.float32)
    for ring in range(max(height, width) // 2 + 1):
        peak += (away <= ring).to(peak.dtype) / (ring + 1) ** _FALL[norm]
    return peak / _length(peak, (0, 1), norm)
