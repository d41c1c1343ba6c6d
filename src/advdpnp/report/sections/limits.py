"""How much a page draws: with hundreds of runs it would take minutes and be too large to open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from advdpnp.report.sections.section import Section

# Figures of one part of the page, and of all parts together; drawing one takes about half a second.
PICTURES_OF_A_PART, PICTURES = 8, 24


def within_limits(parts: Sequence[Section]) -> list[Section]:
    """The parts with so many figures as a page holds; `left_out` of each names the others.

    The first figures of each part are kept, and one part's number is cut only where its share is used up.
    """
    wanted = [min(len(part.pictures), PICTURES_OF_A_PART) for part in parts]
    kept = [0] * len(parts)
    while sum(kept) < PICTURES and kept != wanted:
        for place, most in enumerate(wanted):
            kept[place] += kept[place] < most and sum(kept) < PICTURES
    return [_cut(part, count) for part, count in zip(parts, kept, strict=True)]


def _cut(part: Section, count: int) -> Section:
    titles = tuple(picture.title for picture in part.pictures[count:])
    return replace(part, pictures=part.pictures[:count], left_out=titles)
