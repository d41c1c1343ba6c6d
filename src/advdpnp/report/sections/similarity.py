"""How alike class centers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import acos, degrees

from advdpnp.report.figures.similarity import NUMBERED, shown_together, similarity_maps
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Picture, Section, binding, first_seeds, parts, picture
from advdpnp.report.similarity import Similarity

# Centers of other seeds of a method are turned, and told by the tables.
Measured = tuple[RunResults, Similarity]


def similarity_section(runs: list[RunResults]) -> list[Section]:
    """The part on class centers, where a run has stored them: it is no gap where none has."""
    pictures = list(_pictures(first_seeds(runs, lambda run: run.similarity)))
    text = (
        "The cosine of the angle between every two class centers: prototypes, or rows of the last layer. Prototypes "
        "that are spread evenly have one small cosine everywhere; pairs that stand out are classes that the network "
        "takes to be alike."
    )
    return [Section("similarity", "Similarity of class centers", text, [], pictures=pictures)] if pictures else []


def _pictures(measured: Sequence[Measured]) -> Iterator[Picture]:
    for place, members in groupby(measured, key=lambda one: one[0].place):
        shown = list(members)
        size = min(shown_together(similarity) for _, similarity in shown)
        for number, part in enumerate(parts(shown, size), start=1):
            yield _picture(place, part, number)


def _picture(place: str, measured: Sequence[Measured], number: int) -> Picture:
    names = ", ".join(run.method for run, _ in measured)
    few = all(len(similarity.class_names) <= NUMBERED for _, similarity in measured)
    mark = "Bold" if few else "Framed"
    caption = f"{mark}: the nearest rival of the class of that row, where one is nearer than others. "
    caption += "Gray: the class itself. Most alike: "
    caption += "; ".join(_most_alike(*one) for one in measured) + "."
    title = f"{place}: class centers of {names}"
    alt = f"Heat map of the cosines between class centers for {names}. {caption}"
    return picture(
        f"similarity-{place}-{number}", title, alt, caption, binding(similarity_maps, [run for run, _ in measured])
    )


def _most_alike(run: RunResults, similarity: Similarity) -> str:
    first, second, cosine = similarity.nearest
    angle = degrees(acos(max(-1.0, min(1.0, cosine))))
    return f"{first} and {second} for {run.method}, {cosine:.2f} ({angle:.1f}°)".replace("-0", "−0")
