"""The nearest point of a plane within the box, one float64 vector at a time.

By bisection of the multiplier in linf and l2; in l1 pixel by pixel, those that lead most go first.
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def displacement(z: Vector, w: Vector, b: float, norm: str) -> Vector:
    """The smallest d in the norm with w.(z + d) = b and 0 <= z + d <= 1, or with w.(z + d) as near to b as it gets."""
    sign = 1.0 if w @ z < b else -1.0
    far = np.where(sign * w > 0, 1.0, 0.0)

    corner = np.where(w == 0, 0.0, far - z)
    if norm == "l1" and sign * (b - w @ (z + corner)) < 0 and w.any():
        way, left = np.zeros_like(z), abs(b - w @ z)
        for i in np.argsort(-abs(w)):
            if left <= 0 or w[i] == 0:
                break
            length = min(abs(corner[i]), left / abs(w[i]))
            way[i] = np.sign(corner[i]) * length
            left -= length * abs(w[i])
        return way

    def moved(multiplier: float) -> Vector:
        """The minimizer of the Lagrangian: it is at most `multiplier` long, or goes along w, and the box cuts it."""
        step = multiplier * (np.sign(w) if norm == "linf" else w) * sign
        return np.where(w == 0, 0.0, np.clip(z + step, 0.0, 1.0) - z)

    def short(d: Vector) -> bool:
        return sign * (b - w @ (z + d)) > 0

    if short(corner) or not w.any():
        return corner
    low, high = 0.0, 1.0 if norm == "linf" else 1.0 / np.abs(w[w != 0]).min()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if short(moved(middle)) else (low, middle)
    return moved(high)
