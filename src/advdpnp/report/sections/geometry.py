"""Geometry of the features."""

from __future__ import annotations

from advdpnp.report.geometry_changes import geometry_changes
from advdpnp.report.read import Result, RunResults
from advdpnp.report.sections.section import Section, lacking
from advdpnp.report.tables import geometry_table


def geometry_section(runs: list[RunResults], groups: list[list[Result]]) -> Section:
    found = [table for group in groups for table in (geometry_table(group), geometry_changes(group))]
    tables = [table for table in found if table is not None]
    missing = lacking(runs, lambda run: any(suite.geometry for suite in run.suites))
    text = "How tightly features gather around their class, and how far classes are apart (Eqs. 8 to 12 of the paper)."
    return Section("geometry", "Geometry of the features", text, missing, tables)
