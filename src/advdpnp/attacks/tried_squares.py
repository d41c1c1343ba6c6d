"""Points that Square Attack need not ask about again, since the network has said already that they are no better.

Many squares of an image change nothing, as the point is at that end of the ball already; and as long as the point stays
the same, a square that was tried leads to the point that it led to before. Small images have few squares: on 8x8 digits
most of the standard 5000 iterations ask nothing new. What a row remembers is which squares of the current side
it has tried since its point last changed.
"""

from typing import Protocol

import torch
from torch import Tensor

from advdpnp.attacks.square_moves import Moves, Squares
from advdpnp.noise import Noise

# Squares of one side, with their signs, up to which they are remembered: of images with more, few come again.
_MOST = 4096


class Rows(Protocol):
    """Rows of Square Attack, see `advdpnp.attacks.square.SquareState`."""

    x: Tensor
    point: Tensor
    loss: Tensor
    tried: Tensor


def untried(moves: Moves, x: Tensor) -> Tensor:
    """What rows remember at first: (B, M) bool, M squares; M is 0 where nothing is remembered."""
    squares = moves.places(x) if isinstance(moves, Squares) else 0
    return torch.zeros((len(x), squares if squares <= _MOST else 0), dtype=torch.bool, device=x.device)


def new_points(moves: Squares, state: Rows, sides: Tensor, shrunk: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """The points with one more square, of the rows whose point the network has not been called at.

    Args:
        moves: of the attack.
        state: B rows; the squares are written to `tried`.
        sides: (B,) int64, of the squares.
        shrunk: (B,) bool, where the square before was of another side.
        noise: of the iteration.
    Returns:
        rows (k,) int64, points (k, channels, H, W).
    """
    if shrunk.any():
        state.tried.masked_fill_(shrunk[:, None], False)
    draws = moves.draws(state.x, noise)
    places = moves.place(state.x, sides, draws)[:, None]
    rows = (~state.tried.gather(1, places)).nonzero()[:, 0]
    state.tried.scatter_(1, places, True)
    if len(rows) == 0:
        return rows, state.point[:0]
    best = state.point[rows]
    points = moves.moved(state.x[rows], best, sides[rows], draws[rows])
    # The start, whose loss is not known yet, is a point without a square.
    new = (points != best).flatten(1).any(dim=1) | (state.loss[rows] == -torch.inf)
    return rows[new], points[new]
