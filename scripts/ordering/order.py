"""Whether stored runs order the methods as the paper does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from scipy.stats import kendalltau

from advdpnp.report.paper_values import Value, apart
from ordering.metrics import Metric
from ordering.runs import Runs


@dataclass(frozen=True)
class Measured:
    """A method's number: what the paper prints, and what the seeds have here; at least one of the two."""

    defense: str
    printed: float | None
    values: tuple[Value, ...]

    @property
    def mean(self) -> float:
        return fmean(value.number for value in self.values)

    @property
    def is_both(self) -> bool:
        """Whether it is printed and measured."""
        return self.printed is not None and bool(self.values)


@dataclass(frozen=True)
class Contradiction:
    """A pair that the paper orders otherwise.

    Args:
        higher, lower: methods, as the paper has them.
        printed, ours: the one's number less the other's, in the paper and here.
    """

    higher: str
    lower: str
    printed: float
    ours: float


@dataclass(frozen=True)
class Order:
    """One metric.

    Args:
        metric: which.
        rows: all methods that are printed or measured, in the order of reports.
        agree, open_: pairs that are in the paper's order, and pairs of which that cannot be told.
        contradictions: the other pairs.
        tau: Kendall's tau-b of the printed numbers and the means here; None for fewer than two methods, or where all of
            one side are equal.
    """

    metric: Metric
    rows: tuple[Measured, ...]
    agree: int
    open_: int
    contradictions: tuple[Contradiction, ...]
    tau: float | None

    @property
    def pairs(self) -> int:
        return self.agree + self.open_ + len(self.contradictions)

    @property
    def compared(self) -> list[Measured]:
        """The methods whose order is compared."""
        return compared(self.metric, self.rows)

    @property
    def values(self) -> list[Value]:
        """All that was measured."""
        return [value for row in self.rows for value in row.values]


def order_of(metric: Metric, runs: Runs) -> Order:
    """A metric of all methods, and their order in it."""
    rows = tuple(row for row in _rows(metric, runs) if row.values or row.printed is not None)
    agree, open_, against = 0, 0, list[Contradiction]()
    ranked = sorted(compared(metric, rows), key=lambda row: row.printed or 0.0, reverse=True)
    for higher, lower in combinations(ranked, 2):
        assert higher.printed is not None and lower.printed is not None
        printed, ours = higher.printed - lower.printed, direction(metric, higher.values, lower.values)
        if not printed or not ours:
            open_ += 1
        elif ours > 0:
            agree += 1
        else:
            against.append(Contradiction(higher.defense, lower.defense, printed, higher.mean - lower.mean))
    return Order(metric, rows, agree, open_, tuple(against), _tau(compared(metric, rows)))


def _rows(metric: Metric, runs: Runs) -> list[Measured]:
    found = []
    for defense, seeds in runs.methods.items():
        values = (metric.value(run) for run in seeds)
        printed = metric.printed(runs.data, defense)
        found.append(Measured(defense, printed, tuple(value for value in values if value is not None)))
    return found


def compared(metric: Metric, rows: Sequence[Measured]) -> list[Measured]:
    """Methods that are printed and measured, and compete with others."""
    return [row for row in rows if row.is_both and metric.competes(row.defense)]


def direction(metric: Metric, first: Sequence[Value], second: Sequence[Value]) -> int:
    """1 where the first method has the larger number beyond doubt, -1 where the second has, 0 where it cannot be told.

    In accuracies by the exact McNemar test of each seed, which must all say the same. Geometry is one number for each
    seed, without verdicts: all seeds of one method must lie above all of the other, and each must have two or more.
    """
    if not metric.is_geometry:
        return int(apart(first, second)) - int(apart(second, first))
    if min(len(first), len(second)) < 2:
        return 0
    a, b = ([value.number for value in values] for values in (first, second))
    return int(min(a) > max(b)) - int(min(b) > max(a))


def _tau(rows: Sequence[Measured]) -> float | None:
    if len(rows) < 2:
        return None
    found = float(kendalltau([row.printed for row in rows], [row.mean for row in rows]).statistic)
    return None if math.isnan(found) else found
