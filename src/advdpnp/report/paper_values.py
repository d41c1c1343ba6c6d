"""What stored results hold of a column of the paper: the number of one run, and whether two methods are apart in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

from advdpnp.indices import of_the_first
from advdpnp.report.published.protocols import SHARED_PGD20
from advdpnp.report.published.tables import PrintedColumn
from advdpnp.report.read import Result, RunResults
from advdpnp.results import EvaluationResult
from advdpnp.runs import Json

# Two methods are apart where chance alone would explain the difference less often than this.
LEVEL = 0.05
_STORED = {"fdr": "fdr_trace_ratio_per_class"}


@dataclass(frozen=True)
class Value:
    """One number of one run.

    Args:
        number: in the unit of the paper's column: percent, nats, degrees, or a ratio.
        limits: 95 % interval, in the same unit; None where there is none.
        result: where it is from.
        verdicts: packed, as stored, of each image, where it is an accuracy under one attack or none.
    """

    number: float
    limits: tuple[float, float] | None
    result: Result
    verdicts: Json | None = None


def value_of(column: PrintedColumn, run: RunResults) -> Value | None:
    """The run's number for a column of the paper: of the most images, counted from the first; None if not measured."""
    return max(_values(column, run), key=_preference, default=None)


def _preference(value: Value) -> tuple[int, bool]:
    suite = value.result.suite
    return suite.n, suite.search_precision == "fp32"


def _values(column: PrintedColumn, run: RunResults) -> Iterator[Value]:
    suites = [*run.suites, *run.curves]
    for suite in suites:
        if suite.data != run.data or not of_the_first(suite.indices, suite.n):
            continue
        found = _value(column, Result(run, suite))
        if found is not None:
            yield found


def _value(column: PrintedColumn, result: Result) -> Value | None:
    rows = [row for row in result.suite.rows if any(protocol.fits(row.key) for protocol in column.protocols)]
    match column.kind:
        case "clean":
            suite = result.suite
            verdicts = packed(suite.clean_verdicts)
            return _percent(suite.clean_accuracy, suite.clean_interval95, result, verdicts)
        case "attack" if rows:
            verdicts = packed(rows[0].verdicts, rows[0].unevaluated_bits)
            return _percent(rows[0].robust_accuracy, rows[0].interval95, result, verdicts)
        case "loss" if rows and rows[0].mean_cross_entropy is not None:
            return Value(rows[0].mean_cross_entropy, None, result)
        case "average" if rows:
            return Value(50 * (result.suite.clean_accuracy + rows[0].robust_accuracy), None, result)
        case "ensemble" if len({row.key.label for row in rows}) == len(column.protocols) == len(result.suite.rows):
            suite = result.suite
            return _percent(suite.worst_case_accuracy, suite.worst_case_interval95, result, _under_all(suite))
        case "geometry":
            return _geometry(column, result)
        # Generated corruptions are not CIFAR-10-C.
        case "corruptions" if result.suite.corruptions and result.suite.corruption_source == "published":
            found = result.suite.corruptions
            return _percent(found["mean_accuracy"], found["interval95"], result, None)
    return None


def _percent(fraction: float, interval: Sequence[float], result: Result, verdicts: Json | None) -> Value:
    low, high = interval
    return Value(100 * fraction, (100 * low, 100 * high), result, verdicts)


def _under_all(suite: EvaluationResult) -> Json | None:
    """Verdicts of the worst case, packed: clean, and under every attack."""
    from advdpnp.result_files import Verdicts

    rows = [packed(row.verdicts, row.unevaluated_bits) for row in suite.rows]
    stored = [row for row in (packed(suite.clean_verdicts), *rows) if row is not None]
    # Without one of them it is not known of which images the worst case is.
    if len(stored) <= len(rows):
        return None
    worst = reduce(and_, (Verdicts.read(row, suite.n) for row in stored)).bits()
    return packed(worst["verdicts"], worst.get("unevaluated_bits", ""))


def _geometry(column: PrintedColumn, result: Result) -> Value | None:
    stored: dict[str, Any] = result.suite.geometry or {}
    attacked = stored.get("adversarial", {})
    # Of clean images and of centers it does not matter which attack there was beside.
    usual = any(SHARED_PGD20.fits(row.key) for row in result.suite.rows)
    if column.attacked and not (usual and attacked.get("attack") == "pgd-20 linf 8/255"):
        return None
    side = stored if column.metric.endswith("_degrees") else attacked if column.attacked else stored.get("clean", {})
    number = side.get(_STORED.get(column.metric, column.metric))
    return None if number is None else Value(float(number), None, result)


def packed(verdicts: str, bits: str = "") -> Json | None:
    """Verdicts as stored, for `Value`; None where none are stored."""
    return {"verdicts": verdicts, "unevaluated_bits": bits} if verdicts else None


def number_text(column: PrintedColumn, number: float) -> str:
    """A number with the decimals of the paper's column."""
    return f"{number:.{_decimals(column)}f}"


def signed_text(column: PrintedColumn, number: float) -> str:
    """A difference, with its sign."""
    # A minus sign, as wide as the plus sign.
    return f"{number:+.{_decimals(column)}f}".replace("-", "−")


def _decimals(column: PrintedColumn) -> int:
    if column.kind == "loss":
        return 4
    return 3 if column.kind == "geometry" and not column.metric.endswith("_degrees") else 2


def apart(better: Sequence[Value], worse: Sequence[Value]) -> bool:
    """Whether one method is better than another by the exact McNemar test, on the same images.

    Args:
        better, worse: the seeds of each. Seeds that both have are compared, and every one must say so; where there is
            none, the first of each.
    """
    others = {value.result.run.seed: value for value in worse}
    pairs = [(value, others[value.result.run.seed]) for value in better if value.result.run.seed in others]
    return all(_apart(*pair) for pair in pairs or [(better[0], worse[0])])


class Paired(NamedTuple):
    """Two results on the same images.

    Args:
        only_first, only_second: images that one of them has right, and the other has not.
        n: images that are evaluated in both.
    """

    only_first: int
    only_second: int
    n: int

    @property
    def p(self) -> float:
        """Two-sided p of the exact McNemar test."""
        from advdpnp.result_files import paired_p

        return paired_p(self.only_first, self.only_second)


def paired(first: Value, second: Value) -> Paired | None:
    """Two accuracies image by image; None where they have no verdicts, or those of other images."""
    from advdpnp.result_files import Verdicts

    ours, theirs = first.result.suite, second.result.suite
    if first.verdicts is None or second.verdicts is None or ours.indices != theirs.indices:
        return None
    a, b = Verdicts.read(first.verdicts, ours.n), Verdicts.read(second.verdicts, theirs.n)
    kept = ~(a.unevaluated | b.unevaluated)
    only_first, only_second = a.robust & ~b.robust & kept, b.robust & ~a.robust & kept
    return Paired(int(only_first.sum()), int(only_second.sum()), int(kept.sum()))


def _apart(better: Value, worse: Value) -> bool:
    found = paired(better, worse)
    return found is not None and found.only_first > found.only_second and found.p < LEVEL
