"""What all figures of a report share: style, size, colors, styles and labels of lines, formats of files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advdpnp.report.figures.slim import slim_svg
from advdpnp.report.methods import method
from advdpnp.report.read import RunResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAINT = "#9AA5B1"
METHODS_PER_FIGURE = 4
# Lines of one color: whole, dashed, dotted, dash-dotted, and longer patterns.
LINE_STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
# Format of a figure's file -> what its metadata must leave out, so that it is the same bytes every time.
_DATED: dict[str, tuple[str, ...]] = {
    "svg": ("Date", "Creator"),
    "png": ("Software",),
    "pdf": ("CreationDate", "Creator", "Producer"),
}
FORMATS = tuple(_DATED)
_DPI = {"svg": 150, "png": 200, "pdf": 200}


def check_formats(names: Iterable[str]) -> None:
    """ValueError for a format that figures are not written in."""
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"formats of figures are {', '.join(FORMATS)}; got {name!r}: give some of these")


def to_bytes(build: Callable[[], Figure], title: str, kind: str = "svg") -> bytes:
    """The figure that `build` draws as a file; the same input gives the same bytes.

    Args:
        kind: one of `FORMATS`; PNG has 200 dots per inch.
    """
    import matplotlib

    content, style = io.BytesIO(), Path(__file__).with_name("style.mplstyle")
    metadata = {"Title": title, **dict.fromkeys(_DATED[kind])}
    with matplotlib.rc_context(fname=style), warnings.catch_warnings():
        # Of a name in a script that the font does not have: boxes are drawn.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = build()
        if kind == "svg":
            _lay_out(figure)
        figure.savefig(content, format=kind, dpi=_DPI[kind], metadata=metadata)
    return content.getvalue()


def _lay_out(figure: Figure) -> None:
    """Place the parts of a figure as SVG has them; else saving it draws all of it once more, to nowhere, for this."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    if (engine := figure.get_layout_engine()) is None:
        return
    # Texts are as large as this canvas and its 72 points per inch make them.
    FigureCanvasSVG(figure)
    figure.dpi = 72
    engine.execute(figure)
    figure.set_layout_engine(None)


def to_svg(build: Callable[[], Figure], title: str) -> str:
    """The figure that `build` draws, as SVG; the same input gives the same bytes."""
    return slim_svg(to_bytes(build, title).decode())


def new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def line_styles(runs: Sequence[RunResults]) -> dict[str, Any]:
    """By method: whole lines for a defense as it is, and a pattern of its own for each of its variants."""
    variants: dict[str, list[str]] = {}
    for run in runs:
        known = variants.setdefault(run.defense, [])
        if run.tag and run.method not in known:
            known.append(run.method)
    patterns = LINE_STYLES[1:]
    return {
        run.method: patterns[variants[run.defense].index(run.method) % len(patterns)] if run.tag else LINE_STYLES[0]
        for run in runs
    }


def draw_line(axes: Axes, run: RunResults, x: Sequence[float], y: Sequence[float], style: Any) -> None:
    """A line in the color and with the marker of a method, named after it."""
    known = method(run.defense)
    # A cross is all edge.
    edge = known.color if known.marker == "x" else "white"
    axes.plot(
        x, y, linestyle=style, color=known.color, marker=known.marker, markersize=5.5, markeredgecolor=edge,
        markeredgewidth=0.5, label=run.method,
    )  # fmt: skip


def clipped(name: str, most: int) -> str:
    """A name in so many characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def name_lines(figure: Figure, *panels: Axes) -> None:
    """Name the lines and marks of panels beside the figure, once each, in the order in which they were drawn."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    # A name that is longer than the figure is wide would leave no room for the axes.
    figure.legend(list(found.values()), [clipped(name, 24) for name in found], loc="outside right upper")
