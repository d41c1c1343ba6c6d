"""The figure of a training: loss terms, held-out accuracy, norms of class centers and angles between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from advdpnp.report.figures.drawing import FAINT, LINE_STYLES, METHODS_PER_FIGURE, new_figure
from advdpnp.report.methods import color
from advdpnp.report.read import RunResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TERM_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#117733")
_ACCURACY, _NORM, _ANGLE = "held-out accuracy (%)", "norm of class centers", "angle of class centers (°)"
# Name in the log -> style of its line, and what it is.
_ACCURACIES = {"clean_accuracy": ("-", "clean"), "robust_accuracy": ("--", "attacked")}
_ANGLES = {
    "nearest_rival_mean_degrees": ("-", "nearest rival, mean"),
    "angle_min_degrees": ("--", "nearest rival, smallest"),
    "angle_mean_degrees": (":", "all pairs, mean"),
}
# Epochs of one line; more of them nobody sees, and they make the file heavy.
POINTS = 500

Epochs = list[dict[str, Any]]
Draw = Callable[["Axes", RunResults], None]


def drawn_epochs(run: RunResults) -> Epochs:
    """The epochs that are drawn: all, or of more than `POINTS` evenly spaced ones from the first on, and the last."""
    step = stride(run)
    return run.epochs if step == 1 else [*run.epochs[:-1:step], run.epochs[-1]]


def stride(run: RunResults) -> int:
    """Of how many epochs one is drawn."""
    return max(1, -(-len(run.epochs) // POINTS))


def _term_name(term: str) -> str:
    """A term of the loss as people call it: ce_clean -> CE clean."""
    return " ".join(word.upper() if len(word) <= 3 else word for word in term.split("_"))


def term_names(runs: Sequence[RunResults]) -> list[str]:
    """All terms of the losses of these runs, the total first, in the order in which they first occur."""
    return list(dict.fromkeys(["total", *(term for run in runs for line in run.epochs for term in line["loss"])]))


def _series(run: RunResults, group: str, name: str) -> tuple[list[int], list[float]]:
    lines = [line for line in drawn_epochs(run) if line.get(group) and line[group].get(name) is not None]
    return [line["epoch"] for line in lines], [line[group][name] for line in lines]


def _is_negative(run: RunResults, term: str) -> bool:
    return any(value < 0 for value in _series(run, "loss", term)[1])


def _draw_loss(axes: Axes, run: RunResults, terms: Sequence[str], negative: bool) -> None:
    for place, term in enumerate(terms):
        epochs, values = _series(run, "loss", term)
        if values and _is_negative(run, term) == negative:
            total = term == "total"
            ink = FAINT if total else _TERM_COLORS[(place - 1) % len(_TERM_COLORS)]
            style = "-" if total else LINE_STYLES[(place - 1) % len(LINE_STYLES)]
            width = 3.5 if total else 1.5
            axes.plot(epochs, values, color=ink, linestyle=style, linewidth=width, label=_term_name(term))


def _draw_series(group: str, names: dict[str, tuple[str, str]], scale: float) -> Draw:
    def draw(axes: Axes, run: RunResults) -> None:
        for name, (style, text) in names.items():
            epochs, values = _series(run, group, name)
            if values:
                scaled = [scale * value for value in values]
                axes.plot(epochs, scaled, style, color=color(run.defense), label=text)

    return draw


def _draw_norms(axes: Axes, run: RunResults) -> None:
    epochs, means = _series(run, "centers", "norm_mean")
    if means:
        axes.plot(epochs, means, color=color(run.defense), label="mean")
        # Each of them may have gaps.
        low, high = (dict(zip(*_series(run, "centers", name), strict=True)) for name in ("norm_min", "norm_max"))
        both = [epoch for epoch in low if epoch in high]
        ends = [low[epoch] for epoch in both], [high[epoch] for epoch in both]
        axes.fill_between(both, *ends, color=color(run.defense), alpha=0.2, linewidth=0)


def _at_least_five_percent(axes: Axes) -> None:
    """Widen an axis on which nothing but rounding would be seen, and label it with whole numbers."""
    axes.ticklabel_format(axis="y", useOffset=False)
    low, high = axes.get_ylim()
    middle = (low + high) / 2
    if high - low < 0.05 * middle:
        axes.set_ylim(0.975 * middle, 1.025 * middle)


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


def _legend(row: Sequence[Axes]) -> None:
    """Name the lines of a row in its first panel, whichever panel they are in."""
    found = {line.get_label(): line for axes in reversed(row) for line in axes.get_lines()}
    if found:
        row[0].legend(list(found.values()), list(map(str, found)), loc="best", fontsize=7, handlelength=1.8)


def _panels(runs: Sequence[RunResults], terms: Sequence[str]) -> dict[str, Draw]:
    """What is drawn in each row of the training figure: label of the axis -> function of panel and run."""
    panels: dict[str, Draw] = {"weighted loss": lambda axes, run: _draw_loss(axes, run, terms, negative=False)}
    # DNP's repulsion is negative and far larger than the other terms, which it would flatten in one panel.
    if any(_is_negative(run, term) for run in runs for term in terms):
        panels["loss, negative part"] = lambda axes, run: _draw_loss(axes, run, terms, negative=True)
    if any(line.get("holdout") for run in runs for line in run.epochs):
        panels[_ACCURACY] = _draw_series("holdout", _ACCURACIES, scale=100)
    if any(line.get("centers") for run in runs for line in run.epochs):
        panels[_NORM] = _draw_norms
        panels[_ANGLE] = _draw_series("centers", _ANGLES, scale=1)
    return panels


def training_curves(methods: Sequence[Sequence[RunResults]], terms: Sequence[str]) -> Figure:
    """Loss terms, held-out accuracy, norms and angles of class centers by epoch: a column for each method.

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
                draw(axes, run)
            axes.tick_params(labelbottom=name == list(panels)[-1])
            _finish(axes)
            if name == _NORM:
                _at_least_five_percent(axes)
        if name in (_ACCURACY, _ANGLE):
            _share_y(row[: len(methods)])
            _legend(row[: len(methods)])
        if name == _ACCURACY:
            row[0].set_ylim(0, 101)
        for empty in row[len(methods) :]:
            empty.set_axis_off()
    for top, bottom, seeds in zip(grid[0], grid[-1], methods, strict=False):
        top.set_title(seeds[0].method, color=color(seeds[0].defense))
        bottom.set_xlabel("epoch")
    handles = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    drawn = [name for name in map(_term_name, terms) if name in handles]
    figure.legend([handles[name] for name in drawn], drawn, loc="outside upper left", ncols=min(7, len(drawn)))
    return figure
