"""Geometry of the features."""

from __future__ import annotations

from advdpnp.report.read import Result, RunResults
from advdpnp.report.sections.section import Section, lacking
from advdpnp.report.tables import geometry_table


def geometry_section(runs: list[RunResults], groups: list[list[Result]]) -> Section:
    tables = [table for table in map(geometry_table, groups) if table is not None]
    missing = lacking(runs, lambda run: any(suite.geometry for suite in run.suites))
    text = "How tightly features gather around their class, and how far classes are apart (Eqs. 8 to 12 of the paper)."
    return Section("geometry", "Geometry of the features", text, missing, tables)
