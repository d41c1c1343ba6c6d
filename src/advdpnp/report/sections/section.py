"""A part of the page, and what all parts share."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from advdpnp.report.figures.drawing import to_bytes, to_svg
from advdpnp.report.read import RunResults
from advdpnp.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")

METHODS_DRAWN = 6


@dataclass(frozen=True)
class Picture:
    """A figure: file name without suffix, heading, what it shows in words, how to read it, and what draws it."""

    name: str
    title: str
    alt: str
    caption: str
    build: Callable[[], Any] = field(repr=False, compare=False)

    @cached_property
    def svg(self) -> str:
        """The figure itself; drawn when it is first asked for, since a page may leave it out."""
        return to_svg(self.build, self.title)

    @property
    def source(self) -> str:
        """The SVG as a data URI, which keeps its ids apart from those of other figures."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode("ascii")

    def file(self, kind: str) -> bytes:
        """The figure as a file of one of the formats of `advdpnp.report.figures.drawing.FORMATS`."""
        return self.svg.encode() if kind == "svg" else to_bytes(self.build, self.title, kind)


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Args:
        missing: the runs for which it was not measured.
        remarks: pairs of what is spoken of and what is said.
        left_out: titles of the figures that a page of many runs leaves out.
    """

    anchor: str
    title: str
    text: str
    missing: list[str]
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    left_out: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.tables or self.pictures or self.remarks)


def picture(name: str, title: str, alt: str, caption: str, build: Callable[[], Figure]) -> Picture:
    """A figure whose name is one that every system can have for a file."""
    return Picture(re.sub(r"[^A-Za-z0-9.+-]+", "-", name), title, alt, caption, build)


def file_name(kind: str, run: RunResults) -> str:
    """Name of a figure of one run, which tells it from the same figure of every other run."""
    variant = "+".join(filter(None, (run.defense, run.tag, run.collection)))
    return f"{kind}-{run.data}-{run.backbone}-{variant}-seed-{run.seed}"


def lacking(runs: list[RunResults], has: Callable[[RunResults], Any]) -> list[str]:
    """Names of the runs that have not what `has` looks for."""
    return [f"{run.name} ({run.place})" for run in runs if not has(run)]


def first_seeds(runs: Sequence[RunResults], of: Callable[[RunResults], T | None]) -> list[tuple[RunResults, T]]:
    """Of each method the run of the lowest seed that has something, with it: pictures of all seeds would be alike."""
    found = [(run, value) for run in runs if (value := of(run)) is not None]
    return list({run.order[:-1]: (run, value) for run, value in reversed(found)}.values())[::-1]


def drawn(runs: Sequence[RunResults], of: Callable[[RunResults], T | None]) -> tuple[list[tuple[RunResults, T]], str]:
    """`first_seeds` of the first methods, and a sentence on the others: with all of them a page is slow to open."""
    firsts = first_seeds(runs, of)
    left = len(firsts) - METHODS_DRAWN
    text = f" Drawn for the first {METHODS_DRAWN} methods; a report of fewer runs shows the other {left}."
    return firsts[:METHODS_DRAWN], text if left > 0 else ""


def binding(draw: Callable[..., Figure], *arguments: Any) -> Callable[[], Figure]:
    """What draws a figure later; a lambda in a loop would draw the last one each time."""
    return lambda: draw(*arguments)


def parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Items in as few parts of at most `size` as can be, as even as can be."""
    count = -(-len(items) // size)
    for part in range(count):
        yield items[part * len(items) // count : (part + 1) * len(items) // count]
