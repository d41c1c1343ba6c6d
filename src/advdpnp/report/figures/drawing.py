"""What all figures of a report share: style, size, colors, labels of lines."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from advdpnp.report.figures.slim import slim_svg
from advdpnp.report.methods import color
from advdpnp.report.read import RunResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT = "#9AA5B1"
METHODS_PER_FIGURE = 4
# Of a log; more would be no more to see.
EPOCHS_OF_A_LINE = 300


def to_svg(build: Callable[[], Figure], title: str) -> str:
    """The figure that `build` draws, as SVG; the same input gives the same bytes."""
    import matplotlib

    text = io.StringIO()
    style = Path(__file__).with_name("style.mplstyle")
    with matplotlib.rc_context(fname=style), warnings.catch_warnings():
        # Of a name in a script that the font does not have: boxes are drawn.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        build().savefig(text, format="svg", dpi=150, metadata={"Date": None, "Creator": None, "Title": title})
    return slim_svg(text.getvalue())


def new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _spread_apart(values: list[float], gap: float) -> list[float]:
    """The values, sorted upwards and moved up where two are nearer than `gap`, for labels beside lines."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + gap) if placed else value)
    return placed


def label_lines(axes: Axes, ends: list[tuple[float, RunResults]], x: float) -> None:
    ends.sort(key=lambda end: (end[0], end[1].order))
    places = _spread_apart([height for height, _ in ends], gap=4.6)
    for (_, run), y in zip(ends, places, strict=True):
        label = axes.annotate(
            run.method, (x, y), (9, 0), textcoords="offset points", va="center", color=color(run.defense)
        )
        label.set_annotation_clip(False)
