"""The paper's own tables, with what was measured."""

from __future__ import annotations

from advdpnp.report.paper_tables import CAPTION, paper_tables
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section


def paper_section(runs: list[RunResults]) -> list[Section]:
    """The paper's own tables, where any of them has a place for these runs."""
    tables = paper_tables(runs)
    return [Section("paper", "Beside the paper", CAPTION, [], tables)] if tables else []
