"""What a metric of the geometry is: a function, and what tables say of its number."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from advdpnp.metrics.class_sums import ClassSums
from advdpnp.ranges import check_fields

# Features (N, D), labels (N,) int64 and class centers (C, D) to a number, or to several by name.
OfFeatures = Callable[[Tensor, Tensor, Tensor], Any]
# Sums over the features of each class to a number, or to several by name.
OfSums = Callable[[ClassSums], Any]
# Class centers (C, D) to a number, or to several by name.
OfCenters = Callable[[Tensor], Any]
Better = Literal["higher", "lower", ""]
Unit = Literal["", "°", "%"]
# Samples that are summed at a time: a call for each chunk of an evaluation would cost more than what is in it.
_TOGETHER = 2048
MeasureT = TypeVar("MeasureT", OfFeatures, OfSums, OfCenters)


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
        of_sums: whether `measure` takes `ClassSums`; such a metric needs no memory for each image. The features of all
            images are kept, in float32, only where there is a metric that takes them.
    """

    name: str
    title: str
    measure: MeasureT
    part: str = ""
    better: Better = ""
    unit: Unit = ""
    declared: bool = True
    of_sums: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    def declaration(self) -> dict[str, Any]:
        """What a result stores of it beside the number."""
        return {"title": self.title, "better": self.better, "unit": self.unit}


class Gathering:
    """Numbers of features that come batch by batch.

    Args:
        metrics: of features.
        centers: (C, D), class centers.
    """

    def __init__(self, metrics: Iterable[Metric[Any]], centers: Tensor) -> None:
        self._metrics, self._centers, self._sums = list(metrics), centers, ClassSums(centers)
        self._keeps = not all(metric.of_sums for metric in self._metrics)
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Samples more: features (n, D), labels (n,) int64."""
        self._waiting.append((features, labels))
        if not self._keeps and sum(len(labels) for _, labels in self._waiting) >= _TOGETHER:
            self._sums.add(*self._taken())

    def numbers(self) -> dict[str, float]:
        """The number of each metric, by name; nothing can be added after it."""
        found = {}
        if self._waiting:
            given = self._taken()
            self._sums.add(*given)
            found = _numbers([metric for metric in self._metrics if not metric.of_sums], *given, self._centers)
        found |= _numbers([metric for metric in self._metrics if metric.of_sums], self._sums)
        return {metric.name: found[metric.name] for metric in self._metrics}

    def _taken(self) -> tuple[Tensor, Tensor]:
        """What is waiting, as one batch."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            return waiting[0]
        return torch.cat([features for features, _ in waiting]), torch.cat([labels for _, labels in waiting])


def measured(metrics: Iterable[Metric[Any]], *given: Tensor) -> dict[str, float]:
    """The number of each metric, by name.

    Args:
        metrics: all of features, or all of class centers.
        given: features (N, D), labels (N,) int64 and class centers (C, D); or the class centers alone.
    """
    if len(given) == 1:
        return _numbers(list(metrics), *given)
    features, labels, centers = given
    gathering = Gathering(metrics, centers)
    gathering.add(features, labels)
    return gathering.numbers()


def _numbers(metrics: list[Metric[Any]], *given: Any) -> dict[str, float]:
    found = {measure: measure(*given) for measure in {metric.measure: None for metric in metrics}}
    return {metric.name: _number(found[metric.measure], metric.part) for metric in metrics}


def _number(found: Any, part: str) -> float:
    number: float = getattr(found, part) if part else found
    return number
