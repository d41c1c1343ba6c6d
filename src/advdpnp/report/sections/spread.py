"""How far the features of a class are spread."""

from __future__ import annotations

from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section
from advdpnp.report.spread_table import spread_tables


def spread_section(runs: list[RunResults]) -> list[Section]:
    """The part on the spread of features, where a run has any: it is no gap where none has."""
    tables = spread_tables(runs)
    text = (
        "What the paper reads off Figure 2 by eye, as numbers, for features of any width: how far the features of a "
        "class, by true class, are spread in angle and in radius, clean | attacked. Lower is tighter. An attacked "
        "image that is taken for another class has its feature there, and widens its own."
    )
    return [Section("spread", "Spread of the features", text, [], tables)] if tables else []
