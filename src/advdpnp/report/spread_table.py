"""The table of how far the features of a class are spread, in angle and in radius."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from advdpnp.illustrations import Illustration, Spread, mean_over_classes, spread_text
from advdpnp.report.declared_metrics import MISSING
from advdpnp.report.published.departures import FIGURE_2_PLACE, figure_2_departures
from advdpnp.report.read import RunResults
from advdpnp.report.tables import Cell, Column, Row, Table

# Field of a Spread, its unit, and the head of its column.
_MEASURES = (
    ("angle_degrees", "°", Column("Angle", "to the class's mean direction")),
    ("angle_to_center_degrees", "°", Column("Angle", "to the class center")),
    ("radius", "%", Column("Radius", "of its mean")),
)
_CAPTION = (
    "Mean over the classes. Angles: root mean square of the angle between a feature and the mean direction, or the "
    "center, of its class. Radius: standard deviation of the length of the features over their mean length; 0 where a "
    "classifier compares directions alone. Below each pair: attacked minus clean."
)


def spread_tables(runs: list[RunResults]) -> list[Table]:
    """A table for each data set, backbone, attack and choice of images."""
    measured = sorted((run for run in runs if run.illustration and run.illustration.spread), key=_group)
    return [_table(list(members)) for _, members in groupby(measured, key=_group)]


def _illustration(run: RunResults) -> Illustration:
    assert run.illustration is not None
    return run.illustration


def _group(run: RunResults) -> tuple[str, str, int, str, str]:
    found = _illustration(run)
    return (run.data, run.backbone, found.n, found.indices, found.key.details)


def _table(runs: list[RunResults]) -> Table:
    found = _illustration(runs[0])
    departures = {id(run): _departures(run) for run in runs}
    footnotes = list(dict.fromkeys(text for run in runs for text in departures[id(run)]))
    widest = Column("Widest class", "angle to the mean direction, attacked")
    return Table(
        title=f"{runs[0].place}: spread of the features",
        caption=f"{found.images[0].upper()}{found.images[1:]}; {found.key.details}; {found.dimensions} dimensions. "
        f"{_CAPTION}",
        columns=[*(column for _, _, column in _MEASURES), widest],
        rows=[_row(run, tuple(sorted(map(footnotes.index, departures[id(run)])))) for run in runs],
        footnotes=footnotes,
    )


def _departures(run: RunResults) -> list[str]:
    """Of the network of Figure 2, what sets its features apart from the paper's; others are not in the paper."""
    return figure_2_departures(run, run.illustration) if run.place == FIGURE_2_PLACE else []


def _row(run: RunResults, footnotes: tuple[int, ...]) -> Row:
    found = _illustration(run)
    cells = [_cell(found, unit, _mean(name)) for name, unit, _ in _MEASURES]
    source = f"seed {run.seed}, {run.recipe} recipe, {found.checkpoint} checkpoint"
    return Row("run", run.defense, run.method, source, [*cells, _widest(found)], footnotes=footnotes)


def _mean(name: str) -> Callable[[Spread], float | None]:
    return lambda spread: mean_over_classes(getattr(spread, name))


def _cell(found: Illustration, unit: str, measure: Callable[[Spread], float | None]) -> Cell:
    assert found.spread is not None
    clean, attacked = measure(found.spread["clean"]), measure(found.spread["adversarial"])
    text = f"{spread_text(clean, unit)} | {spread_text(attacked, unit)}"
    if clean is None or attacked is None:
        return Cell(text)
    change = 100 * (attacked - clean) if unit == "%" else attacked - clean
    return Cell(text, difference=f"{change:+.1f}{' points' if unit == '%' else unit}".replace("-", "−"))


def _widest(found: Illustration) -> Cell:
    assert found.spread is not None
    angles = found.spread["adversarial"].angle_degrees
    widest = max((angle for angle in angles if angle is not None), default=None)
    if widest is None:
        return Cell(MISSING)
    return Cell(f"{found.class_names[angles.index(widest)]}, {spread_text(widest, '°')}")
