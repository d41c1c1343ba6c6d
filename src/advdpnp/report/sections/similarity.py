"""How alike class centers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import acos, degrees

from advdpnp.report.figures.similarity import NUMBERED, shown_together, similarity_maps
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Picture, Section, binding, parts, picture


def similarity_section(runs: list[RunResults]) -> list[Section]:
    """The part on class centers, where a run has stored them: it is no gap where none has."""
    pictures = list(_pictures([run for run in runs if run.similarity is not None]))
    text = (
        "The cosine of the angle between every two class centers: prototypes, or rows of the last layer. Prototypes "
        "that are spread evenly have one small cosine everywhere; pairs that stand out are classes that the network "
        "takes to be alike."
    )
    return [Section("similarity", "Similarity of class centers", text, [], pictures=pictures)] if pictures else []


def _pictures(runs: Sequence[RunResults]) -> Iterator[Picture]:
    for place, members in groupby(runs, key=lambda run: run.place):
        # The first seed of each method: centers of other seeds are turned, and told by the tables.
        firsts = list({run.method: run for run in reversed(list(members))}.values())[::-1]
        size = min(shown_together(run.similarity) for run in firsts if run.similarity is not None)
        for number, part in enumerate(parts(firsts, size), start=1):
            yield _picture(place, part, number)


def _picture(place: str, runs: Sequence[RunResults], number: int) -> Picture:
    names = ", ".join(run.method for run in runs)
    few = all(len(run.similarity.class_names) <= NUMBERED for run in runs if run.similarity is not None)
    mark = "Bold" if few else "Framed"
    caption = f"{mark}: the nearest rival of the class of that row, where one is nearer than others. "
    caption += "Gray: the class itself. Most alike: "
    caption += "; ".join(_most_alike(run) for run in runs) + "."
    title = f"{place}: class centers of {names}"
    alt = f"Heat map of the cosines between class centers for {names}. {caption}"
    return picture(f"similarity-{place}-{number}", title, alt, caption, binding(similarity_maps, runs))


def _most_alike(run: RunResults) -> str:
    if run.similarity is None:
        return run.name
    first, second, cosine = run.similarity.nearest
    angle = degrees(acos(max(-1.0, min(1.0, cosine))))
    return f"{first} and {second} for {run.method}, {cosine:.2f} ({angle:.1f}°)".replace("-0", "−0")
