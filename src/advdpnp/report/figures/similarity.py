"""Cosines between class centers as heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advdpnp.report.figures.drawing import new_figure
from advdpnp.report.methods import color
from advdpnp.report.similarity import Similarity

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from advdpnp.report.read import RunResults

# Up to so many classes a cell has room for its number.
NUMBERED = 20
_COLUMNS = 2


def shown_together(similarity: Similarity) -> int:
    """How many matrices one figure holds: a large one stands alone."""
    return 4 if len(similarity.class_names) <= NUMBERED else 1


def similarity_maps(runs: Sequence[RunResults]) -> Figure:
    """The cosine of every two class centers; one scale for all, and a mark at the nearest rival of each class.

    Args:
        runs: on the same data, whose similarity is stored; at most `shown_together` of them.
    """
    import numpy as np

    found = [run.similarity for run in runs if run.similarity is not None]
    count = len(found[0].class_names)
    numbered = count <= NUMBERED
    columns = _COLUMNS if numbered else 1
    rows = -(-len(found) // columns)
    side = 0.9 + (0.42 * count if numbered else 0.095 * count)
    figure = new_figure(columns * side + 0.8, rows * side)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    # Tenths, so that figures of like networks have the same scale.
    largest = max(0.1, float(np.ceil(10 * max(np.nanmax(np.abs(one.between)) for one in found)) / 10))
    for axes, run, similarity in zip(grid, runs, found, strict=False):
        image = axes.imshow(similarity.between, cmap="PuOr_r", vmin=-largest, vmax=largest)
        _name_classes(axes, similarity.class_names, 8 if numbered else 5)
        _mark_rivals(axes, similarity, largest, numbered)
        axes.set_title(run.name, color=color(run.defense))
    for empty in grid[len(found) :]:
        empty.set_axis_off()
    figure.colorbar(image, ax=grid, shrink=0.5, label="cosine of two class centers")
    return figure


def _name_classes(axes: Axes, names: Sequence[str], size: float) -> None:
    axes.grid(visible=False)
    axes.set_facecolor("#E4E7EB")
    axes.set_xticks(range(len(names)), labels=names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), labels=names, fontsize=size)
    axes.tick_params(length=0)


def _mark_rivals(axes: Axes, similarity: Similarity, largest: float, numbered: bool) -> None:
    between, rivals = similarity.between, similarity.rivals
    if not numbered:
        places, nearest = rivals.nonzero()
        axes.plot(nearest, places, "s", markersize=3.2, markerfacecolor="none", markeredgecolor="black")
        return
    for row, line in enumerate(between):
        for column, cosine in enumerate(line):
            if row != column:
                _write(axes, row, column, cosine, largest, nearest=bool(rivals[row, column]))


def _write(axes: Axes, row: int, column: int, cosine: np.floating, largest: float, nearest: bool) -> None:
    ink = "white" if abs(cosine) > 0.7 * largest else "black"
    # Adding 0 makes 0 of what rounds to -0.
    text = f"{round(float(cosine), 2) + 0.0:.2f}".replace("-", "−").replace("0.", ".")
    weight = "bold" if nearest else "normal"
    axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7, fontweight=weight)
