"""Explanations as one self-contained page: no other file, no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advdpnp.explaining.explanation import Explanation, Explanations, Score
from advdpnp.explaining.lines import Line, all_lines, axis_ticks, drawn_lines
from advdpnp.explaining.thumbnails import data_uri, difference, shades
from advdpnp.explaining.words import (
    amplification,
    answer,
    attack_text,
    in_short,
    radius,
    sentences,
    share_below,
)
from advdpnp.ood_results import SCORES
from advdpnp.predicting import Prediction, TrainingImage
from advdpnp.predicting.text import degrees, percent, printable

# Pixels of the longer side of a picture inside the page, at most: of images, and of training images.
_SIDE, _SMALL = 320, 96
# Of the figure of angles, in units of its view box.
_NAMES, _WIDTH, _ROW = 96, 380, 21
# Rows of the table of numbers, at most.
_ROWS = 100


@dataclass(frozen=True)
class Shown:
    """A picture, what it shows, and what is below it."""

    source: str
    alt: str
    title: str
    caption: str = ""


@dataclass(frozen=True)
class Dot:
    """One class in the figure of angles, in units of the view box."""

    line: Line
    y: float
    before: float | None
    after: float | None


def page(found: Explanations) -> str:
    """The HTML of the page; the same explanations give the same text."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # A name may hold anything, a line break or half a surrogate pair too.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {"degrees": degrees, "percent": percent, "signed": _signed}
    content: dict[str, Any] = {
        "found": found,
        "vector": (found.prototypes_are or "").removesuffix("s"),
        "attack": attack_text(found),
        "parts": [_part(image, number, found) for number, image in enumerate(found.explained, start=1)],
        "described": SCORES,
        "css": _file("page.css"),
    }
    return environment.from_string(_file("page.html.j2")).render(content)


def _file(name: str) -> str:
    """A file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _part(image: Explanation, number: int, of: Explanations) -> dict[str, Any]:
    """What the page shows of one image."""
    lines = drawn_lines(image)
    return {
        "number": number,
        "image": image,
        "answer": answer(image),
        "short": in_short(image, of),
        "sentences": sentences(image, of),
        "pictures": _pictures(image, of),
        "dots": _dots(lines),
        "ticks": [(_x(tick, axis_ticks(lines)), tick) for tick in axis_ticks(lines)],
        "bottom": _ROW * len(lines) + 8,
        "others": len(image.prediction.prototypes) - len(lines),
        "rows": _rows(image),
        "left_out": max(len(image.prediction.top) - _ROWS, 0),
        "neighbors": {to: _neighbors(image, to, of) for to in ("image", "prototype")},
        "scores": _score_rows(image),
        "known": any(score.threshold is not None for score in image.scores.values()),
    }


def _pictures(image: Explanation, of: Explanations) -> list[Shown]:
    said = image.prediction
    source = shades(said.pixels, of.levels)
    shown = [
        Shown(
            data_uri(source, _SIDE),
            f"The image {said.file}, which the network takes for {said.class_name}",
            "Image",
            f"{said.class_name}, {percent(said.probability)}",
        )
    ]
    if (found := image.adversarial) is not None:
        becomes = found.answer
        shown.append(
            Shown(
                data_uri(shades(becomes.pixels, of.levels), _SIDE),
                f"The adversarial image, which the network takes for {becomes.class_name}",
                "Adversarial image",
                f"{becomes.class_name}, {percent(becomes.probability)}; {radius(found.distance, of)} away",
            )
        )
        change, times = difference(found.change)
        shown.append(
            Shown(
                data_uri(change, _SIDE),
                f"The difference of the two, {amplification(times)} times amplified",
                "Difference",
                f"times {amplification(times)}; grey where nothing changes",
            )
        )
    return shown


def _x(angle: float, ticks: Sequence[int]) -> float:
    return round(_NAMES + (_WIDTH - _NAMES - 18) * (angle - ticks[0]) / (ticks[-1] - ticks[0]), 1)


def _dots(lines: Sequence[Line]) -> list[Dot]:
    ticks = axis_ticks(lines)

    def place(angle: float | None) -> float | None:
        return None if angle is None else _x(angle, ticks)

    return [
        Dot(
            line,
            _ROW * row + 12,
            place(line.before.angle_degrees),
            None if line.after is None else place(line.after.angle_degrees),
        )
        for row, line in enumerate(lines)
    ]


def _neighbors(image: Explanation, to: str, of: Explanations) -> list[Shown]:
    return [
        Shown(
            "" if other.pixels is None else data_uri(shades(other.pixels, of.levels), _SMALL),
            f"Training image {other.label}, labeled {other.class_name}",
            other.class_name,
            f"{_how_near(other)}, {other.label}",
        )
        for other in image.prediction.nearest_training
        if other.to == to
    ]


def _how_near(other: TrainingImage) -> str:
    return f"distance {other.distance:.3g}" if other.to == "image" else degrees(other.angle_degrees)


def _rows(image: Explanation) -> list[tuple[str, float, float | None, Line | None]]:
    """Of the likeliest classes: name, probability before and after, and distances and angles."""
    after = {} if image.adversarial is None else _probabilities(image.adversarial.answer)
    lines = {line.class_name: line for line in all_lines(image)}
    return [
        (name, probability, after.get(name), lines.get(name))
        for name, probability in list(_probabilities(image.prediction).items())[:_ROWS]
    ]


def _probabilities(answer: Prediction) -> dict[str, float]:
    return {entry.class_name: entry.probability for entry in answer.top}


def _score_rows(image: Explanation) -> list[tuple[str, Score, Score | None, str]]:
    """Name, score of the image and of the adversarial image, and the share of the test images below the first."""
    after = {} if image.adversarial is None else image.adversarial.scores
    return [(name, score, after.get(name), share_below(score)) for name, score in image.scores.items()]


def _signed(value: float) -> str:
    """A score, with a true minus."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
