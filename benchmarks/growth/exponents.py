"""The exponent p of y = c x^p: least squares of log y over log x, with its standard error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Exponent:
    """An exponent that was fitted.

    Args:
        value: p.
        error: its standard error, from how far the points lie from the line; NaN of two points.
        least, most: the range of x.
    """

    value: float
    error: float
    least: float
    most: float

    def exceeds(self, known: float) -> bool:
        """Whether it is larger than a known one by more than two errors and 0.1."""
        return self.value - known > 0.1 + (0 if math.isnan(self.error) else 2 * self.error)


def fitted(x: Sequence[float], y: Sequence[float]) -> Exponent:
    """The exponent of some points; ValueError unless there are two different x and all numbers are above 0."""
    if len(set(x)) < 2 or min(*x, *y) <= 0:
        raise ValueError(f"an exponent needs two points or more, all above 0; got {list(zip(x, y, strict=True))}")
    across, up = [math.log(value) for value in x], [math.log(value) for value in y]
    middle, height = sum(across) / len(across), sum(up) / len(up)
    spread = sum((value - middle) ** 2 for value in across)
    slope = sum((a - middle) * (b - height) for a, b in zip(across, up, strict=True)) / spread
    left = sum((b - height - slope * (a - middle)) ** 2 for a, b in zip(across, up, strict=True))
    free = len(x) - 2
    return Exponent(slope, math.sqrt(left / free / spread) if free else math.nan, min(x), max(x))
