"""Predictions as a picture: a row per image, with probabilities, angles to the class centers, and training images."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from advdpnp.predicting.predictions import Pixels, Prediction, Predictions
from advdpnp.predicting.text import escape, printable
from advdpnp.runs import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib brings the first; of the others, those that are installed stand in for what it lacks.
_FONTS = (
    *("DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Emoji"),
    *("WenQuanYi Zen Hei", "Arial Unicode MS", "Hiragino Sans", "Microsoft YaHei", "Segoe UI Symbol"),
)
ROWS = 40
FORMATS = ("pdf", "png", "svg")
STYLE: dict[Any, Any] = {"font.size": 7.5, "text.parse_math": False, "svg.hashsalt": "advdpnp"}
_WINNER, _OTHER, _INK, _GRID = "#D55E00", "#7B8794", "#1F2933", "#E4E7EB"
# Inches.
_ROW, _HEAD, _GAP, _PANEL, _THUMB = 1.7, 0.45, 0.35, 1.2, 0.85
_BARS = 5
# With more classes than this, only the nearest get a line of their own.
_NAMED = 12

Draw = Callable[["Sheet", float, float, Prediction], None]


def check_format(path: Path) -> None:
    """Raise ValueError unless the file name ends in one of `FORMATS`."""
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise ValueError(f"a picture must end in {', '.join('.' + name for name in FORMATS)}; got {path}")


def write_picture(predictions: Predictions, path: Path) -> int:
    """Draw the predictions for the first `ROWS` images; returns how many were drawn.

    Args:
        predictions: at least one image that could be read.
        path: ends in .png, .svg or .pdf.
    Raises:
        ValueError: another ending, or no image to draw.
    """
    import matplotlib

    check_format(path)
    rows = predictions.predicted[:ROWS]
    if not rows:
        raise ValueError(f"{path} would be empty: none of the {len(predictions.images)} images could be read")
    content = io.BytesIO()
    with matplotlib.rc_context(STYLE | {"font.family": font_families()}):
        _draw(rows, _columns(rows, predictions)).savefig(content, format=path.suffix[1:].lower(), dpi=150)
    write_bytes(path, content.getvalue())
    return len(rows)


def drawable(text: str, length: int) -> str:
    """The text in at most `length` characters, its middle left out; an escape for each character that no font has."""
    known = _characters()
    text = "".join(c if ord(c) in known else escape(c) for c in printable(text))
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


@functools.cache
def font_families() -> list[str]:
    """The font families that names are drawn with, in order of preference."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in installed]


class _Column(NamedTuple):
    title: str
    width: float
    draw: Draw


class Sheet:
    """A figure on which things are placed in inches from the top left."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.figure: Figure = Figure(figsize=(width, height), facecolor="white")
        self._width, self._height = width, height

    def panel(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes without spines and ticks."""
        bottom = self._height - top - height
        axes = self.figure.add_axes(
            (left / self._width, bottom / self._height, width / self._width, height / self._height)
        )
        axes.spines[:].set_visible(False)
        axes.set(xticks=[], yticks=[])
        return axes

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        """Text below a place."""
        self.figure.text(left / self._width, 1 - top / self._height, text, va="top", **{"color": _INK} | style)


def _draw(rows: Sequence[Prediction], columns: Sequence[_Column]) -> Figure:
    sheet = Sheet(_GAP + sum(column.width + _GAP for column in columns), _HEAD + len(rows) * _ROW)
    left = _GAP
    for column in columns:
        sheet.text(left, 0.12, column.title, weight="bold")
        for place, row in enumerate(rows):
            column.draw(sheet, left, _HEAD + place * _ROW, row)
        left += column.width + _GAP
    return sheet.figure


def _columns(rows: Sequence[Prediction], predictions: Predictions) -> list[_Column]:
    vector = (predictions.prototypes_are or "").removesuffix("s")
    columns = [
        _Column("image", _PANEL, functools.partial(_draw_image, levels=predictions.levels)),
        _Column("softmax probability", 2.6, _draw_bars),
    ]
    if rows[0].prototypes:
        angles = [center.angle_degrees or 0.0 for row in rows for center in row.prototypes]
        draw = functools.partial(_draw_angles, limit=max(100.0, 5 + max(angles)))
        columns.append(_Column(f"angle to each {vector}", 3.2, draw))
    for to, title in (("prototype", f"training images nearest to this {vector} (angle)"),
                      ("image", "training images nearest to this image (distance)")):  # fmt: skip
        if count := max(sum(other.to == to for other in row.nearest_training) for row in rows):
            draw = functools.partial(_draw_neighbors, to=to, levels=predictions.levels)
            columns.append(_Column(title, max(count * _THUMB, 3.0), draw))
    return columns


def show(axes: Axes, pixels: Pixels, levels: int) -> None:
    """Draw an image, (channels, H, W) in [0, levels], with square pixels."""
    image = (np.asarray(pixels, np.float64) / levels).clip(0, 1).transpose(1, 2, 0)
    axes.imshow(image.repeat(3, axis=2) if image.shape[2] == 1 else image, interpolation="nearest")


def _draw_image(sheet: Sheet, left: float, top: float, row: Prediction, *, levels: int) -> None:
    show(sheet.panel(left, top, _PANEL, _PANEL), row.pixels, levels)
    sheet.text(left, top + _PANEL + 0.06, drawable(Path(row.file).name, 24), fontsize=6.5)


def _draw_bars(sheet: Sheet, left: float, top: float, row: Prediction) -> None:
    axes, shown = sheet.panel(left + 1.05, top, 1.1, _PANEL), row.top[:_BARS]
    colors = [_WINNER, *[_OTHER] * (len(shown) - 1)]
    axes.barh(range(len(shown)), [entry.probability for entry in shown], height=0.6, color=colors)
    axes.set(xlim=(0, 1), ylim=(_BARS - 0.5, -0.5))
    for place, entry in enumerate(shown):
        weight = "bold" if place == 0 else "normal"
        axes.text(-0.05, place, drawable(entry.class_name, 17), ha="right", va="center", weight=weight)
        axes.text(1.05, place, f"{100 * entry.probability:.1f} %", ha="left", va="center", weight=weight)


def _draw_angles(sheet: Sheet, left: float, top: float, row: Prediction, *, limit: float) -> None:
    axes = sheet.panel(left + 1.05, top, 2.1, _PANEL)
    lines = _angle_lines(row)
    axes.set(xlim=(0, limit), ylim=(max(len(lines), 2) - 0.5, -0.5), xticks=[0, 30, 60, 90])
    axes.set_xticklabels([f"{tick}°" for tick in (0, 30, 60, 90)], fontsize=6)
    axes.tick_params(length=0, pad=2, labelcolor=_OTHER)
    axes.grid(axis="x", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if not lines:
        axes.text(limit / 2, 0.5, "undefined:\nthe embedding is zero", ha="center", va="center")
    for place, (name, angles) in enumerate(lines):
        winner, alone = name == row.class_name, len(angles) == 1
        dots: dict[str, Any] = {"markersize": 5 if winner else 3, "alpha": 1 if alone else 0.3, "markeredgewidth": 0}
        axes.plot(angles, [place] * len(angles), "o", color=_WINNER if winner else _OTHER, **dots)
        ink, weight = (_WINNER, "bold") if winner else (_INK, "normal")
        label = drawable(name, 17)
        axes.text(-2, place, label, ha="right", va="center", fontsize=6.5, color=ink, weight=weight)


def _angle_lines(row: Prediction) -> list[tuple[str, list[float]]]:
    """Names and angles as they are drawn: each class, or, of many, the nearest in order and the others in one line."""
    known = [(center.class_name, center.angle_degrees) for center in row.prototypes if center.angle_degrees is not None]
    if len(known) <= _NAMED:
        return [(name, [angle]) for name, angle in known]
    known.sort(key=lambda pair: pair[1])
    # The winner of a head with biases need not be among the nearest.
    known.sort(key=lambda pair: pair[0] != row.class_name)
    named, others = sorted(known[: _NAMED - 1], key=lambda pair: pair[1]), known[_NAMED - 1 :]
    return [*((name, [angle]) for name, angle in named), (f"{len(others)} others", [angle for _, angle in others])]


def _draw_neighbors(sheet: Sheet, left: float, top: float, row: Prediction, *, to: str, levels: int) -> None:
    for place, other in enumerate(other for other in row.nearest_training if other.to == to):
        corner = left + place * _THUMB
        axes = sheet.panel(corner, top, _THUMB - 0.1, _THUMB - 0.1)
        if other.pixels is None:
            axes.text(0.5, 0.5, "no file", ha="center", va="center", color=_OTHER)
        else:
            show(axes, other.pixels, levels)
        far = f"{other.distance:.3g}" if to == "image" else f"{other.angle_degrees:.1f}°"
        label = f"{drawable(other.class_name, 13)}\n{far}\n{drawable(PurePosixPath(other.label).name, 13)}"
        sheet.text(corner, top + _THUMB - 0.06, label, fontsize=6.5, linespacing=1.25)


@functools.cache
def _characters() -> frozenset[int]:
    from matplotlib import font_manager

    found: set[int] = set()
    for name in font_families():
        found |= set(font_manager.get_font(font_manager.findfont(name)).get_charmap())
    return frozenset(found)
