"""Masking audits: the verdict of each, and what it rests on."""

from __future__ import annotations

from advdpnp.audit_files import StoredAudit
from advdpnp.report.declared_metrics import MISSING
from advdpnp.report.figures.audit import audit_panels
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, binding, file_name, picture
from advdpnp.report.tables import Cell, Column, Row, Table, percent

TEXT = (
    "Can the robust accuracy be believed? An audit compares attacks that follow the network's gradients with some that "
    "need none, and the network with what honest ones show. It is no proof of robustness."
)
_NUMBERS = {"clean": "Clean", "claimed": "PGD-20", "lowest": "All attacks"}


def audit_section(runs: list[RunResults]) -> list[Section]:
    """The part on masking audits, where a run has any: it is no gap where none has."""
    found = [(run, audit) for run in runs for audit in run.audits]
    if not found:
        return []
    pictures = [
        picture(
            file_name(audit.name.replace("@", "-on-"), run),
            f"{run.name} ({run.place}): {audit.verdict}",
            f"Robust accuracy against eps and after each attack, and the margin along the gradient: {audit.verdict}.",
            f"{audit.conclusion}.",
            binding(audit_panels, audit.content),
        )
        for run, audit in found
    ]
    tables = [_verdicts(found), *(_evidence(run, audit) for run, audit in found)]
    return [Section("audit", "Can the numbers be believed?", TEXT, [], tables, pictures)]


def _verdicts(found: list[tuple[RunResults, StoredAudit]]) -> Table:
    columns = [Column("Audit"), *(Column(head) for head in _NUMBERS.values()), Column("Verdict")]
    rows = [Row("run", run.defense, run.method, _source(run), _cells(run, audit)) for run, audit in found]
    return Table("Masking audits", "Accuracies in percent.", columns, rows, [])


def _cells(run: RunResults, audit: StoredAudit) -> list[Cell]:
    what = Cell(f"{run.place}, {audit.norm}, eps {audit.eps}, {audit.n:,} images")
    shares = [
        Cell(percent(audit.shares[name], audit.n), value=audit.shares[name]) if name in audit.shares else Cell(MISSING)
        for name in _NUMBERS
    ]
    return [what, *shares, Cell(audit.verdict)]


def _evidence(run: RunResults, audit: StoredAudit) -> Table:
    columns = [Column(head) for head in ("Check", "Verdict", "Measured", "An honest network", "Next")]
    keys = ("name", "verdict", "measured", "expected", "advice")
    rows = [
        Row("run", run.defense, run.method, _source(run), [Cell(check[key]) for key in keys]) for check in audit.checks
    ]
    title = f"{run.name} ({run.place}): {audit.verdict} in {audit.norm} at {audit.eps}"
    return Table(title, f"{audit.conclusion}.", columns, rows, [])


def _source(run: RunResults) -> str:
    return "" if run.foreign else f"seed {run.seed}"
