"""What a metric of the geometry is: a function, and what tables say of its number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor

from advdpnp.ranges import check_fields

# Features (N, D), labels (N,) int64 and class centers (C, D) to a number.
OfFeatures = Callable[[Tensor, Tensor, Tensor], float]
# Class centers (C, D) to a number.
OfCenters = Callable[[Tensor], float]
Better = Literal["higher", "lower", ""]
Unit = Literal["", "°", "%"]
MeasureT = TypeVar("MeasureT", OfFeatures, OfCenters)


@dataclass(frozen=True, kw_only=True)
class Metric(Generic[MeasureT]):
    """A number about features or class centers.

    Args:
        name: its key in result files, under `geometry`.
        title: the head of its column in a report.
        measure: the function.
        better: which direction is better; "" where neither is.
        unit: "°" for degrees; "%" for a fraction, which tables show in percent.
        declared: whether results store title, direction and unit, from which a report makes the column. False for the
            metrics of the paper, whose columns every report has.
    """

    name: str
    title: str
    measure: MeasureT
    better: Better = ""
    unit: Unit = ""
    declared: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def declaration(self) -> dict[str, Any]:
        """What a result stores of it beside the number."""
        return {"title": self.title, "better": self.better, "unit": self.unit}
