"""The figure of a training: loss terms, held-out accuracy, angles between class centers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from advdpnp.report.figures.drawing import EPOCHS_OF_A_LINE, FAINT, METHODS_PER_FIGURE, new_figure
from advdpnp.report.methods import color
from advdpnp.report.read import RunResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TERM_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#117733")
_ACCURACY, _ANGLE = "held-out accuracy (%)", "angle of class centers (°)"


def _term_name(term: str) -> str:
    """A term of the loss as people call it: ce_clean -> CE clean."""
    return " ".join(word.upper() if len(word) <= 3 else word for word in term.split("_"))


def term_names(runs: Sequence[RunResults]) -> list[str]:
    """All terms of the losses of these runs, the total first, in the order in which they first occur."""
    return list(dict.fromkeys(["total", *(term for run in runs for line in run.epochs for term in line["loss"])]))


def _series(run: RunResults, group: str, name: str) -> tuple[list[int], list[float]]:
    lines = [line for line in _drawn(run.epochs) if line.get(group) and line[group].get(name) is not None]
    return [line["epoch"] for line in lines], [line[group][name] for line in lines]


def _drawn(epochs: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Every so many epochs, the last among them, where there are more than a line can show."""
    step = -(-len(epochs) // EPOCHS_OF_A_LINE)
    return epochs if step <= 1 else epochs[::-1][::step][::-1]


def _is_negative(run: RunResults, term: str) -> bool:
    return any(value < 0 for value in _series(run, "loss", term)[1])


def _draw_loss(axes: Axes, run: RunResults, terms: Sequence[str], negative: bool) -> None:
    for place, term in enumerate(terms):
        epochs, values = _series(run, "loss", term)
        if values and _is_negative(run, term) == negative:
            total = term == "total"
            ink = FAINT if total else _TERM_COLORS[(place - 1) % len(_TERM_COLORS)]
            axes.plot(epochs, values, color=ink, linewidth=3.5 if total else 1.3, label=_term_name(term))


def _draw_accuracy(axes: Axes, run: RunResults, label: bool) -> None:
    for name, style, text in (("clean_accuracy", "-", "clean"), ("robust_accuracy", "--", "attacked")):
        epochs, values = _series(run, "holdout", name)
        percents = [100 * value for value in values]
        axes.plot(epochs, percents, style, color=color(run.defense), label=text if label else None)


def _draw_angles(axes: Axes, run: RunResults, label: bool) -> None:
    for name, style, text in (("angle_mean_degrees", "-", "mean of pairs"), ("angle_min_degrees", "--", "smallest")):
        axes.plot(*_series(run, "centers", name), style, color=color(run.defense), label=text if label else None)


def _share_y(row: Sequence[Axes]) -> None:
    for axes in row[1:]:
        axes.sharey(row[0])
        axes.tick_params(labelleft=False)
    row[0].autoscale(axis="y")


def _finish(axes: Axes) -> None:
    """Say that a panel is empty, and show lines of a single epoch."""
    import numpy as np

    if not axes.get_lines():
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=FAINT)
    for line in axes.get_lines():
        line.set_marker("o" if np.size(line.get_xdata()) == 1 else "")


def _panels(runs: Sequence[RunResults], terms: Sequence[str]) -> dict[str, Callable[[Axes, RunResults, bool], None]]:
    """What is drawn in each row of the training figure: label of the axis -> function of panel, run, first."""
    panels: dict[str, Callable[[Axes, RunResults, bool], None]] = {
        "weighted loss": lambda axes, run, _: _draw_loss(axes, run, terms, negative=False)
    }
    # DNP's repulsion is negative and far larger than the other terms, which it would flatten in one panel.
    if any(_is_negative(run, term) for run in runs for term in terms):
        panels["loss, negative part"] = lambda axes, run, _: _draw_loss(axes, run, terms, negative=True)
    if any(line.get("holdout") for run in runs for line in run.epochs):
        panels[_ACCURACY] = _draw_accuracy
    if any(line.get("centers") for run in runs for line in run.epochs):
        panels[_ANGLE] = _draw_angles
    return panels


def training_curves(methods: Sequence[Sequence[RunResults]], terms: Sequence[str]) -> Figure:
    """Loss terms, held-out accuracy and angles between class centers by epoch: a column for each method.

    Args:
        methods: at most `METHODS_PER_FIGURE` methods, each with its seeds, drawn over each other.
        terms: names of all loss terms of the report, so that a term has one color in all its figures.
    """
    panels = _panels([run for seeds in methods for run in seeds], terms)
    figure = new_figure(10.4, 0.6 + 1.9 * len(panels))
    # Columns that stay empty keep the panels of all figures the same size.
    grid = figure.subplots(len(panels), METHODS_PER_FIGURE, squeeze=False)
    for row, (name, draw) in zip(grid, panels.items(), strict=True):
        row[0].set_ylabel(name)
        for axes, seeds in zip(row, methods, strict=False):
            for run in seeds:
                draw(axes, run, axes is row[0] and run is seeds[0])
            axes.tick_params(labelbottom=name == list(panels)[-1])
            _finish(axes)
        if name in (_ACCURACY, _ANGLE):
            _share_y(row[: len(methods)])
            row[0].legend(loc="best")
        if name == _ACCURACY:
            row[0].set_ylim(0, 101)
        for empty in row[len(methods) :]:
            empty.set_axis_off()
    for top, bottom, seeds in zip(grid[0], grid[-1], methods, strict=False):
        top.set_title(seeds[0].method, color=color(seeds[0].defense))
        bottom.set_xlabel("epoch")
    handles = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    drawn = [name for name in map(_term_name, terms) if name in handles]
    figure.legend([handles[name] for name in drawn], drawn, loc="outside upper left", ncols=len(drawn))
    return figure
