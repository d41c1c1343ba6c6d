"""Tables of accuracy under common corruptions, by severity and by corruption."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from advdpnp.indices import image_count, of_the_first, short_indices
from advdpnp.report.declared_metrics import MISSING
from advdpnp.report.published.departures import on_the_papers_images
from advdpnp.report.published.tables import TABLE_5, Place
from advdpnp.report.read import Result, by_method
from advdpnp.report.tables import Cell, Column, Row, Table, percent, published_row
from advdpnp.results import Accuracy

# Accuracies of one result, in the order of the columns.
Read = Callable[[Result], list[Accuracy]]


def stored_corruptions(result: Result) -> dict[str, Any]:
    """What a result says of corruptions; ValueError where it says nothing."""
    if result.suite.corruptions is None:
        raise ValueError(f"{result.suite.path} measures no corruptions")
    return result.suite.corruptions


def corrupted(groups: Iterable[Sequence[Result]]) -> list[list[Result]]:
    """Of lists of comparable results, those that measure corruptions; generated ones apart from published ones."""
    measured = (sorted((one for one in group if one.suite.corruptions), key=_source) for group in groups)
    return [list(members) for group in measured for _, members in groupby(group, key=_source)]


def _source(result: Result) -> str:
    return result.suite.corruption_source


def words(corruption: str) -> str:
    """A corruption as people write it: jpeg_compression -> JPEG compression."""
    return corruption.replace("_", " ").replace("jpeg", "JPEG")


def source_text(results: Sequence[Result]) -> str:
    """What the corrupted images are, in words."""
    source = _source(results[0])
    return "CIFAR-10-C as published" if source == "published" else f"{source}, not CIFAR-10-C"


def corruption_tables(results: list[Result]) -> list[Table]:
    """Accuracy under corruptions of comparable results: the mean and each severity; and each corruption.

    Args:
        results: one of the lists of `corrupted`.
    """
    first = results[0]
    severities = [Column(f"Severity {k + 1}") for k in range(len(stored_corruptions(first)["severity_accuracy"]))]
    by_severity = [Column("Clean"), Column("Mean", "over all"), *severities]
    by_corruption = [Column(words(name)) for name in stored_corruptions(first)["corruption_accuracy"]]
    return [
        _table(results, "accuracy under corruptions", by_severity, _severities),
        _table(results, "accuracy under each corruption", by_corruption, _each_corruption),
    ]


def _severities(result: Result) -> list[Accuracy]:
    stored = stored_corruptions(result)
    mean = Accuracy(stored["mean_accuracy"], *stored["interval95"])
    return [result.suite.clean, mean, *map(_bare, stored["severity_accuracy"])]


def _each_corruption(result: Result) -> list[Accuracy]:
    return list(map(_bare, stored_corruptions(result)["corruption_accuracy"].values()))


def _bare(value: float) -> Accuracy:
    return Accuracy(value, value, value)


def _table(results: list[Result], what: str, columns: list[Column], read: Read) -> Table:
    first, rows, others = results[0], list[Row](), "corruptions" if read is _severities else "severities"
    images = f"{image_count(first.suite.n)} ({short_indices(first.suite.indices)})"
    for _, of_defense in groupby(by_method(results), key=lambda seeds: seeds[0].run.defense):
        methods = list(of_defense)
        rows += [row for seeds in methods for row in _rows(seeds, read)]
        rows += _printed(methods[0][0]) if read is _severities else []
    return Table(
        title=f"{first.place}: {what} ({_source(first)})",
        caption=f"Accuracy in percent on {images}, mean over {others}; corrupted images: {source_text(results)}.",
        columns=columns,
        rows=rows,
        footnotes=[],
        group=(*first.group[:2], f"{first.suite.name} ({_source(first)})", *first.group[3:]),
    )


def _rows(seeds: list[Result], read: Read) -> Iterable[Row]:
    for result in seeds:
        cells = [_cell(accuracy, result.suite.n) for accuracy in read(result)]
        yield Row("run", result.run.defense, result.run.method, result.source, cells, backbone=result.run.backbone)
    if len(seeds) > 1:
        run, values = seeds[0].run, zip(*map(read, seeds), strict=True)
        cells = [_cell(_bare(sum(seed.value for seed in column) / len(seeds)), seeds[0].suite.n) for column in values]
        yield Row("mean", run.defense, run.method, f"mean of {len(seeds)} seeds", cells, backbone=run.backbone)


def _cell(accuracy: Accuracy, n: int) -> Cell:
    if accuracy.low == accuracy.high:
        return Cell(percent(accuracy.value, n), value=accuracy.value)
    limits = f"{percent(accuracy.low, n)}–{percent(accuracy.high, n)}"
    return Cell(percent(accuracy.value, n), limits, accuracy.value, (accuracy.low, accuracy.high))


def printed_mean(result: Result) -> float | None:
    """Mean accuracy that Table 5 prints for a result's method, percent; None beside generated or fewer images."""
    numbers = TABLE_5.rows.get(Place(result.suite.data, result.run.backbone, result.run.defense))
    same = _source(result) == "published" and on_the_papers_images(result) and not result.run.tag
    return numbers[0] if numbers is not None and same else None


def _printed(result: Result) -> list[Row]:
    """Table 5 beside the published arrays; generated corruptions are nothing to compare with it."""
    place = Place(result.suite.data, result.run.backbone, result.run.defense)
    numbers = TABLE_5.rows.get(place)
    whole = of_the_first(result.suite.indices, result.suite.n)
    if numbers is None or _source(result) != "published" or not whole:
        return []
    severities = stored_corruptions(result)["severity_accuracy"]
    mean = Cell(f"{numbers[0]:.2f}", value=numbers[0] / 100)
    return [published_row(result, [Cell(MISSING), mean, *(Cell(MISSING) for _ in severities)])]
