"""Where a score lies among those of the test images, as far as stored results tell."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from advdpnp.explaining.explanation import Score
from advdpnp.ood_results import OodResult


def placed(name: str, value: float, stored: OodResult | None) -> Score:
    """A score with the threshold and the place that a stored result gives it.

    Args:
        name: of the score.
        value: of the image.
        stored: of the same network; None where nothing is stored.
    """
    if stored is None:
        return Score(value)
    clean = next((row for row in stored.accepting if row.attack is None and name in row.scores), None)
    threshold = None if clean is None else clean.scores[name].threshold
    bounds = list(_bounds(name, value, stored))
    if not bounds:
        return Score(value, threshold)
    # Each histogram has bins of its own, so together they tell more than one.
    least, most = max(low for low, _ in bounds), min(high for _, high in bounds)
    return Score(value, threshold, (min(least, most), max(least, most)))


def _bounds(name: str, value: float, stored: OodResult) -> Iterator[tuple[float, float]]:
    """Shares of the test images in the bins below the value, and in these and its own, of each stored histogram."""
    for row in stored.outside:
        if name not in row.scores:
            continue
        histogram = row.scores[name].histogram
        edges, inside = histogram["edges"], histogram["inside"]
        own = min(max(bisect_right(edges, value) - 1, 0), len(inside) - 1)
        until = [0.0, *accumulate(inside)]
        yield min(until[own], 1.0), min(until[own + 1], 1.0)
