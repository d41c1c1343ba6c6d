"""Explanations as one picture: a row per image, with its adversarial image, angles before and after, and neighbors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from advdpnp.explaining.explanation import Explanation, Explanations
from advdpnp.explaining.lines import axis_ticks, drawn_lines
from advdpnp.explaining.thumbnails import Shades, difference, shades
from advdpnp.explaining.words import amplification, answer, in_short
from advdpnp.predicting.picture import ROWS, STYLE, Sheet, drawable, font_families
from advdpnp.predicting.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IMAGE, _ADVERSARIAL, _SOFT, _GRID = "#0072B2", "#D55E00", "#52606D", "#E4E7EB"
# Inches.
_GAP, _PANEL, _PLOT, _NAMES, _THUMB = 0.3, 1.25, 2.6, 1.1, 0.82
_HEAD, _TITLE, _CAPTION = 0.5, 0.25, 0.5
_NARROWEST = 7.5


def picture(found: Explanations) -> bytes:
    """A PNG of the first `advdpnp.predicting.picture.ROWS` images that could be read, at least one."""
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context(STYLE | {"font.family": font_families()}):
        _draw(found.explained[:ROWS], found).savefig(content, format="png", dpi=150)
    return content.getvalue()


def _draw(rows: Sequence[Explanation], of: Explanations) -> Figure:
    images = 3 * (_PANEL + _GAP)
    plot = _NAMES + _PLOT + _GAP if rows[0].prediction.prototypes else 0.0
    near = max(sum(other.to == "image" for other in row.prediction.nearest_training) for row in rows)
    height = _TITLE + _PANEL + _CAPTION
    sheet = Sheet(max(_GAP + images + plot + near * _THUMB + _GAP, _NARROWEST), _HEAD + len(rows) * height)
    left = _GAP + images
    for number, title in enumerate(("image", "adversarial image", "difference")):
        sheet.text(_GAP + number * (_PANEL + _GAP), 0.12, title, weight="bold")
    if plot:
        sheet.text(left, 0.12, f"angle to each {(of.prototypes_are or '').removesuffix('s')}:", weight="bold")
        sheet.text(left + 1.65, 0.12, "● image", color=_IMAGE)
        sheet.text(left + 2.25, 0.12, "○ adversarial image", color=_ADVERSARIAL)
    if near:
        sheet.text(left + plot, 0.12, "nearest training images (distance)", weight="bold")
    for place, row in enumerate(rows):
        top = _HEAD + place * height
        file = drawable(PurePath(row.prediction.file).name, 40)
        sheet.text(_GAP, top - 0.06, f"{file}:  {drawable(f'{answer(row)};  {in_short(row, of)}', 120)}", fontsize=8.5)
        _draw_images(sheet, top + _TITLE, row, of)
        if plot:
            _draw_angles(sheet, left + _NAMES, top + _TITLE, row)
        _draw_neighbors(sheet, left + plot, top + _TITLE, row, of)
    return sheet.figure


def _show(axes: Axes, picture: Shades) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def _draw_images(sheet: Sheet, top: float, row: Explanation, of: Explanations) -> None:
    shown = [(shades(row.prediction.pixels, of.levels), _of(row.prediction.class_name, row.prediction.probability))]
    if (found := row.adversarial) is not None:
        shown.append((shades(found.answer.pixels, of.levels), _of(found.answer.class_name, found.answer.probability)))
        change, times = difference(found.change)
        shown.append((change, f"times {amplification(times)}"))
    for number, (image, caption) in enumerate(shown):
        left = _GAP + number * (_PANEL + _GAP)
        _show(sheet.panel(left, top, _PANEL, _PANEL), image)
        sheet.text(left, top + _PANEL + 0.05, caption)


def _of(class_name: str, probability: float) -> str:
    return f"{drawable(class_name, 16)}, {percent(probability)}"


def _draw_angles(sheet: Sheet, left: float, top: float, row: Explanation) -> None:
    axes, lines = sheet.panel(left, top, _PLOT, _PANEL + 0.1), drawn_lines(row)
    ticks = axis_ticks(lines)
    axes.set(xlim=(ticks[0], ticks[-1]), ylim=(max(len(lines), 2) - 0.5, -0.5), xticks=ticks)
    axes.set_xticklabels([f"{tick}°" for tick in ticks], fontsize=6)
    axes.tick_params(length=0, pad=2, labelcolor=_SOFT)
    axes.grid(axis="x", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for place, line in enumerate(lines):
        before, after = (None if center is None else center.angle_degrees for center in (line.before, line.after))
        if before is not None and after is not None:
            axes.plot([before, after], [place, place], color=_ADVERSARIAL, linewidth=0.8, zorder=2)
        dot: dict[str, Any] = {"markersize": 4.5, "clip_on": False, "zorder": 3, "linestyle": "none", "marker": "o"}
        if after is not None:
            axes.plot([after], [place], markerfacecolor="white", markeredgecolor=_ADVERSARIAL, **dot)
        if before is not None:
            axes.plot([before], [place], markerfacecolor=_IMAGE, markeredgewidth=0, **dot)
        color = _IMAGE if line.predicted else _ADVERSARIAL if line.becomes else _SOFT
        weight = "bold" if line.predicted or line.becomes else "normal"
        style: dict[str, Any] = {"fontsize": 6.5, "color": color, "weight": weight}
        name = drawable(line.class_name, 17)
        axes.text(-0.02, place, name, transform=axes.get_yaxis_transform(), ha="right", va="center", **style)


def _draw_neighbors(sheet: Sheet, left: float, top: float, row: Explanation, of: Explanations) -> None:
    near = [other for other in row.prediction.nearest_training if other.to == "image"]
    for number, other in enumerate(near):
        axes = sheet.panel(left + number * _THUMB, top, _THUMB - 0.1, _THUMB - 0.1)
        if other.pixels is None:
            axes.text(0.5, 0.5, "no file", ha="center", va="center", color=_SOFT)
        else:
            _show(axes, shades(other.pixels, of.levels))
        label = f"{drawable(other.class_name, 13)}\n{other.distance:.3g}\n{drawable(PurePath(other.label).name, 13)}"
        sheet.text(left + number * _THUMB, top + _THUMB - 0.04, label, fontsize=6.5, linespacing=1.25)
