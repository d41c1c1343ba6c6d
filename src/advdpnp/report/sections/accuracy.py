"""Accuracies of all runs."""

from __future__ import annotations

from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, lacking
from advdpnp.report.tables import Table


def accuracy_section(runs: list[RunResults], tables: list[Table]) -> Section:
    text = (
        "Bold: the highest measured value of a column. An interval says what another draw of test images would change, "
        "not what another training seed would; the command advdpnp compare tests two runs image by image."
    )
    if any(row.kind == "published" for table in tables for row in table.rows):
        text += " Published rows are what the paper prints for attacks of the same norm, radius and number of steps."
    return Section("results", "Accuracy", text, lacking(runs, lambda run: run.suites), tables)
