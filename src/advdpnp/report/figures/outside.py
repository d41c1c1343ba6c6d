"""Figures of outside images: scores as histograms with ROC curves, and accuracy of what is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advdpnp.ood_results import OodResult, OutsideRow
from advdpnp.report.figures.drawing import FAINT, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INSIDE, _OUTSIDE = "#0072B2", "#D55E00"
# Score -> color and style of its line.
_SCORES: dict[str, tuple[str, Any]] = {
    "distance": ("#0072B2", "-"),
    "angle": ("#D55E00", "--"),
    "max-softmax": ("#009E73", "-."),
    "max-logit": ("#CC79A7", (0, (6, 1, 1, 1, 1, 1))),
    "energy": ("#777777", (0, (1, 1))),
}
# Columns of one figure.
SETS_PER_FIGURE = 4


def shown_score(result: OodResult) -> str:
    """The score of the histograms: the distance to the nearest class center, where there are class centers."""
    return "distance" if "distance" in result.scores else "max-softmax"


def _draw_histogram(axes: Axes, row: OutsideRow, score: str) -> None:
    found = row.scores[score].histogram
    for name, ink, style in (("inside", _INSIDE, "-"), ("outside", _OUTSIDE, "--")):
        axes.stairs(found[name], found["edges"], fill=True, color=ink, alpha=0.3)
        axes.stairs(found[name], found["edges"], color=ink, linestyle=style, label=name)
    axes.set_title(row.name)
    axes.set(xlabel=f"{score}, higher is more inside", yticks=[])


def _draw_roc(axes: Axes, row: OutsideRow) -> None:
    rates = [place / 100 for place in range(101)]
    for name, score in row.scores.items():
        ink, style = _SCORES.get(name, (FAINT, "-"))
        axes.plot(score.roc, rates, color=ink, linestyle=style, label=name, drawstyle="steps-post")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=":")
    axes.axhline(0.95, color=FAINT, linewidth=0.9, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="outside accepted (FPR)")
    axes.set_box_aspect(1)


def scores_against(result: OodResult, rows: list[OutsideRow]) -> Figure:
    """For each set of outside images the histograms of one score above, and the ROC of every score below.

    Args:
        result: of one network.
        rows: at most `SETS_PER_FIGURE` of its sets.
    """
    figure = new_figure(10.4, 5.2)
    # Columns that stay empty keep the panels of all figures the same size.
    grid = figure.subplots(2, SETS_PER_FIGURE, squeeze=False, height_ratios=(1, 1.6))
    for column, row in enumerate(rows):
        _draw_histogram(grid[0, column], row, shown_score(result))
        _draw_roc(grid[1, column], row)
    grid[0, 0].set_ylabel("images")
    grid[1, 0].set_ylabel("inside accepted (TPR)")
    grid[0, 0].legend(loc="best")
    grid[1, 0].legend(loc="lower right")
    for empty in grid[:, len(rows) :].flat:
        empty.set_axis_off()
    return figure


def accuracy_of_accepted(result: OodResult) -> Figure:
    """Accuracy of the images that are accepted, those of the highest scores first: clean, and under each attack."""
    figure = new_figure(10.4, 3.4)
    rows = result.accepting[:SETS_PER_FIGURE]
    panels = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    for axes, row in zip(panels, rows, strict=True):
        for name, score in row.scores.items():
            coverage = [100 * share for share in score.coverage]
            accuracy = [100 * share for share in score.accuracy_of_accepted]
            ink, style = _SCORES.get(name, (FAINT, "-"))
            axes.plot(coverage, accuracy, color=ink, linestyle=style, label=name)
        axes.axhline(100 * row.accuracy, color=FAINT, linewidth=0.9, linestyle=":")
        axes.set_title(row.label)
        axes.set(xlim=(0, 100), ylim=(0, 101), xlabel="accepted (% of the test images)")
    panels[0].set_ylabel("accuracy of these (%)")
    panels[0].legend(loc="best")
    return figure
