"""Auto-PGD on one image and the projection onto the l1 ball, in float64, from the papers.

Images are vectors of n pixels in [0, 1]. An objective is a function x (n,) -> (loss to maximize, its gradient (n,)).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array]]


class Iterate(NamedTuple):
    """A point that the objective was asked about, and the step size with which it is left."""

    point: Array
    step_size: float


def checkpoints(steps: int) -> list[int]:
    """Iterations w_1 < w_2 < ... at which the step size may be halved (Croce and Hein 2020, Sec. 3.2).

    The paper has w_j = ceil(p_j steps) with p_1 = 0.22 and gaps that shrink by 0.03 down to 0.06; the authors' code
    rounds the gaps down instead, to at least 1. With 100 steps both are the same.
    """
    gap, shrink, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    result, w = [], 0
    while w + gap <= steps:
        w += gap
        result.append(w)
        gap = max(gap - shrink, least)
    return result


def paper_checkpoints(steps: int) -> list[int]:
    """The same with the paper's rounding; shares in hundredths, so that they are exact."""
    shares = [0, 22]
    while shares[-1] < 100:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 3, 6))
    return [w for w in (math.ceil(share * steps / 100) for share in shares[1:]) if w <= steps]


def auto_pgd(
    objective: Objective, x: Array, norm: str, eps: float, steps: int, rho: float, start: Array
) -> list[Iterate]:
    """Algorithm 1 of Croce and Hein 2020 in "linf" or "l2": all steps + 1 points, from `start` on.

    As in the authors' code, a check counts rises up to and including rho times its steps as too few, and the first
    step's loss is compared with 0.
    """
    point, before, step_size = start, start, 2 * eps
    loss, gradient = objective(point)
    trace, losses, best = [Iterate(point, step_size)], [0.0], (loss, point, gradient)
    halved, checked, checks, last_check = True, loss, checkpoints(steps), 0
    for k in range(1, steps + 1):
        ahead = _project(point + step_size * _direction(gradient, norm), x, norm, eps)
        if k > 1:
            ahead = _project(point + 0.75 * (ahead - point) + 0.25 * (point - before), x, norm, eps)
        before, point = point, ahead
        loss, gradient = objective(point)
        losses.append(loss)
        best = max(best, (loss, point, gradient), key=lambda known: known[0])
        if k in checks:
            rises = sum(losses[i] > losses[i - 1] for i in range(last_check + 1, k + 1))
            stalls = not halved and checked >= best[0]
            halved = rises <= rho * (k - last_check) or stalls
            checked, last_check = best[0], k
            if halved:
                step_size /= 2
                _, point, gradient = best
        trace.append(Iterate(ahead, step_size))
    return trace


def _direction(gradient: Array, norm: str) -> Array:
    return np.sign(gradient) if norm == "linf" else gradient / math.sqrt(sum(gradient**2))


def _project(point: Array, x: Array, norm: str, eps: float) -> Array:
    delta = point - x
    if norm == "linf":
        delta = np.array([min(max(value, -eps), eps) for value in delta])
    else:
        delta = delta * min(1.0, eps / math.sqrt(sum(delta**2)))
    return np.array([min(max(value, 0.0), 1.0) for value in x + delta])


def project_l1(delta: Array, x: Array, eps: float) -> Array:
    """The nearest d with ||d||_1 <= eps and 0 <= x + d <= 1, by bisection on the multiplier t of the norm.

    For given t every pixel has its own problem, min (d - delta)^2 / 2 + t |d| within its box.
    """

    def best(t: float) -> Array:
        room = np.where(delta > 0, 1 - x, x)
        return np.sign(delta) * np.minimum(np.maximum(np.abs(delta) - t, 0), room)

    low, high = 0.0, float(np.abs(delta).max())
    if np.abs(best(low)).sum() <= eps:
        return best(low)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if np.abs(best(middle)).sum() <= eps else (middle, high)
    return best(high)
