"""What a metric of the geometry is: a function, and what tables say of its number."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor

from advdpnp.ranges import check_fields

# Features (N, D), labels (N,) int64 and class centers (C, D) to a number, or to several by name.
OfFeatures = Callable[[Tensor, Tensor, Tensor], Any]
# Class centers (C, D) to a number, or to several by name.
OfCenters = Callable[[Tensor], Any]
Better = Literal["higher", "lower", ""]
Unit = Literal["", "°", "%"]
MeasureT = TypeVar("MeasureT", OfFeatures, OfCenters)


@dataclass(frozen=True, kw_only=True)
class Metric(Generic[MeasureT]):
    """A number about features or class centers.

    Args:
        name: its key in result files, under `geometry`.
        title: the head of its column in a report.
        measure: the function; metrics that come from one computation have the same one, which is called once.
        part: which of several numbers it is, an attribute of what `measure` returns; "" where that is the number.
        better: which direction is better; "" where neither is.
        unit: "°" for degrees; "%" for a fraction, which tables show in percent.
        declared: whether results store title, direction and unit, from which a report makes the column. False for the
            metrics of the paper, whose columns every report has.
    """

    name: str
    title: str
    measure: MeasureT
    part: str = ""
    better: Better = ""
    unit: Unit = ""
    declared: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def declaration(self) -> dict[str, Any]:
        """What a result stores of it beside the number."""
        return {"title": self.title, "better": self.better, "unit": self.unit}


def measured(metrics: Iterable[Metric[Any]], *given: Tensor) -> dict[str, float]:
    """The number of each metric, by name.

    Args:
        metrics: all of features, or all of class centers.
        given: features (N, D), labels (N,) int64 and class centers (C, D); or the class centers alone.
    """
    wanted = list(metrics)
    found = {measure: measure(*given) for measure in {metric.measure: None for metric in wanted}}
    return {metric.name: _number(found[metric.measure], metric.part) for metric in wanted}


def _number(found: Any, part: str) -> float:
    number: float = getattr(found, part) if part else found
    return number
