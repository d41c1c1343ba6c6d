"""Robust against clean accuracy: a mark for each run, with lines along which their mean is the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from advdpnp.report import published
from advdpnp.report.figures.drawing import FAINT, name_lines, new_figure
from advdpnp.report.methods import INK, method
from advdpnp.report.published.departures import WITHOUT_ATTACK, on_the_papers_images
from advdpnp.report.read import Result, RunResults, by_method
from advdpnp.results import Accuracy, AttackKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ATTACKS_PER_FIGURE, _COLUMNS = 6, 3
# Distances of neighboring lines of equal mean, of which the finest that gives few lines is drawn.
_STEPS, _LINES = (1, 2, 5, 10, 20), 8
_SOFT = "#52606D"


class Mark(NamedTuple):
    """One run, or one row of the paper: clean and robust accuracy and the limits of their intervals, percent."""

    run: RunResults
    clean: float
    robust: float
    clean_limits: tuple[float, float]
    robust_limits: tuple[float, float]


def measured_marks(results: Sequence[Result], key: AttackKey) -> list[Mark]:
    """A mark for each run that was attacked so."""
    pairs = [(one.run, one.suite.clean, one.suite.attacks[key]) for one in results if key in one.suite.attacks]
    return [Mark(run, 100 * x.value, 100 * y.value, _limits_of(x), _limits_of(y)) for run, x, y in pairs]


def _limits_of(accuracy: Accuracy) -> tuple[float, float]:
    return 100 * accuracy.low, 100 * accuracy.high


def defended(results: Sequence[Result]) -> list[Result]:
    """Without networks that were trained without an attack, beside which all others are one spot; if any is left."""
    return [result for result in results if result.run.defense not in WITHOUT_ATTACK] or list(results)


def printed_marks(results: Sequence[Result], key: AttackKey) -> list[Mark]:
    """What the paper prints of these methods, where attack and images are its own; each once, and no variants."""
    plain = {result.run.defense: result for result in results if not result.run.tag and on_the_papers_images(result)}
    marks = []
    for result in plain.values():
        printed = published.accuracies(result.suite.data, result.run.backbone, result.run.defense)
        if printed is not None and printed.clean is not None and (robust := printed.attack(key)) is not None:
            marks.append(Mark(result.run, printed.clean, robust, (printed.clean,) * 2, (robust,) * 2))
    return marks


def tradeoff(results: Sequence[Result], keys: Sequence[AttackKey]) -> Figure:
    """Robust against clean accuracy, a panel for each attack; hollow: what the paper prints.

    Args:
        results: that may be compared, see `advdpnp.report.read.grouped`.
        keys: at most `ATTACKS_PER_FIGURE` of their attacks.
    """
    columns = 2 if len(keys) == 4 else min(len(keys), _COLUMNS)
    rows = -(-len(keys) // columns)
    figure = new_figure(2.1 + 3.3 * columns, 0.3 + 3.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = list(grid.flat)
    for axes, key in zip(panels, keys, strict=False):
        axes.set_title(f"{key.label}, {key.budget}")
        _draw_measured(axes, results, key)
        printed = printed_marks(results, key)
        for mark in printed:
            _draw_mark(axes, mark, hollow=True)
        if printed:
            axes.plot([], [], "o", markersize=8, markerfacecolor="none", markeredgecolor=INK, label="hollow: the paper")
        _frame(axes, [*measured_marks(results, key), *printed])
        axes.set(xlabel="clean accuracy (%)", ylabel="accuracy under attack (%)")
    for empty in panels[len(keys) :]:
        empty.set_axis_off()
    name_lines(figure, *panels)
    return figure


def _draw_measured(axes: Axes, results: Sequence[Result], key: AttackKey) -> None:
    for seeds in by_method([result for result in results if key in result.suite.attacks]):
        for place, mark in enumerate(measured_marks(seeds, key)):
            ink = method(mark.run.defense).color
            axes.plot(mark.clean_limits, [mark.robust] * 2, color=ink, linewidth=0.8, alpha=0.4)
            axes.plot([mark.clean] * 2, mark.robust_limits, color=ink, linewidth=0.8, alpha=0.4)
            _draw_mark(axes, mark, hollow=False, label="" if place else mark.run.method)
            # Variants of a method have its color and marker.
            if mark.run.foreign or mark.run.tag:
                name = mark.run.method if mark.run.foreign else f"+{mark.run.tag}"
                axes.annotate(name, (mark.clean, mark.robust), (5, 3), textcoords="offset points", fontsize=6.5)


def _draw_mark(axes: Axes, mark: Mark, hollow: bool, label: str = "") -> None:
    known = method(mark.run.defense)
    face = "none" if hollow else known.color
    edge = known.color if hollow or known.marker == "x" else "white"
    axes.plot(
        mark.clean, mark.robust, linestyle="none", marker=known.marker, markersize=8, color=known.color,
        markerfacecolor=face, markeredgecolor=edge, markeredgewidth=1.3 if hollow else 0.6, label=label or None,
    )  # fmt: skip


def _frame(axes: Axes, marks: Sequence[Mark]) -> None:
    """Limits around all intervals, and the lines of equal mean within them."""
    x_low, x_high = _padded([limit for mark in marks for limit in mark.clean_limits])
    y_low, y_high = _padded([limit for mark in marks for limit in mark.robust_limits])
    axes.set(xlim=(x_low, x_high), ylim=(y_low, y_high))
    for mean in iso_averages((x_low + y_low) / 2, (x_high + y_high) / 2):
        axes.plot([x_low, x_high], [2 * mean - x_low, 2 * mean - x_high], ":", color=FAINT, linewidth=0.9, zorder=0.5)
        # Where the line enters at the left or, of the upper ones, at the top.
        y = min(2 * mean - x_low, y_high)
        if 2 * mean - y < x_high - 0.12 * (x_high - x_low):
            axes.annotate(
                f"avg {mean}",
                (2 * mean - y, y),
                (2, -2),
                textcoords="offset points",
                va="top",
                fontsize=6.5,
                color=_SOFT,
            )


def _padded(values: Sequence[float]) -> tuple[float, float]:
    margin = max(0.5, 0.08 * (max(values) - min(values)))
    return min(values) - margin, max(values) + margin


def iso_averages(low: float, high: float) -> list[int]:
    """Round means strictly between two, at most `_LINES` of them."""
    return next((found for step in _STEPS if len(found := list(_between(low, high, step))) <= _LINES), [])


def _between(low: float, high: float, step: int) -> Iterator[int]:
    first = int(low // step) + 1
    yield from (step * k for k in range(first, int(-(-high // step))))
