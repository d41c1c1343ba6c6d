"""The variants of PGD in l1, and SLIDE, on one image, in float64, as their papers and libraries describe them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reference.apgd import project_l1

Array = NDArray[np.float64]


def ascend(
    gradient: Callable[[Array], Array], x: Array, eps: float, step_size: float, steps: int, variant: str
) -> Array:
    """The last iterate of projected ascent from x, (n,) in [0, 1]; variant: coordinate, dense, rescaled or slide."""
    point = x.copy()
    for _ in range(steps):
        g = gradient(point)
        direction = {"dense": _dense, "slide": _sparse}.get(variant, _coordinate)(g, point)
        ahead = point + step_size * direction
        if variant == "dense":
            point = np.clip(x + _rescaled(ahead - x, eps), 0, 1)
        elif variant == "rescaled":
            point = x + _rescaled(np.clip(ahead, 0, 1) - x, eps)
        else:
            point = np.clip(x + _nearest(ahead - x, eps), 0, 1)
    return point


def _coordinate(g: Array, point: Array) -> Array:
    """The steepest coordinate, by its sign."""
    direction = np.zeros_like(g)
    best = max(range(len(g)), key=lambda i: abs(g[i]))
    direction[best] = np.sign(g[best])
    return direction


def _dense(g: Array, point: Array) -> Array:
    return g / sum(abs(g))


def _sparse(g: Array, point: Array) -> Array:
    """Signs of the entries that are not below the 0.99 quantile, after those that point out of the box are dropped."""
    g = np.array([0.0 if (p == 0 and v < 0) or (p == 1 and v > 0) else v for v, p in zip(g, point, strict=True)])
    signs = np.where(abs(g) >= np.quantile(abs(g), 0.99), np.sign(g), 0.0)
    return signs / max(abs(signs).sum(), 1)


def _rescaled(delta: Array, eps: float) -> Array:
    return delta * min(1.0, eps / max(abs(delta).sum(), 1e-12))


def _nearest(delta: Array, eps: float) -> Array:
    """The nearest point of the l1 ball: the one in a box that is too wide to matter."""
    return 1000 * project_l1(delta / 1000, np.full_like(delta, 0.5), eps / 1000)
