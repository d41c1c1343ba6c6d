"""What an attack changes in the geometry of the features: the attacked value of each metric minus the clean one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from advdpnp.attack_words import attack_name
from advdpnp.report import published
from advdpnp.report.declared_metrics import MISSING, declared, number
from advdpnp.report.published.departures import on_the_papers_images
from advdpnp.report.published.protocols import SHARED_PGD20
from advdpnp.report.read import Result
from advdpnp.report.tables import Cell, Column, Row, Table, published_row

# Name as stored -> head of the column; those whose numbers the paper prints, by its name.
_METRICS = {
    "fdr_eq8": "FDR Eq. 8",
    "fdr_trace_ratio": "FDR W/B",
    "fdr_trace_ratio_per_class": "FDR W/B/C",
    "afs": "AFS",
    "scr": "SCR",
}
_PRINTED = {"fdr_trace_ratio_per_class": "fdr", "afs": "afs", "scr": "scr"}


def geometry_changes(results: list[Result]) -> Table | None:
    """Attacked minus clean, for each metric of features; None where no result has any.

    Args:
        results: that may be compared, see `advdpnp.report.read.grouped`.
    """
    measured = [result for result in results if _has_both_sides(result)]
    if not measured:
        return None
    further = [metric for metric in declared(one.suite.geometry or {} for one in measured) if not metric.of_centers]
    heads = _METRICS | {metric.name: metric.title for metric in further}
    rows: list[Row] = []
    for _, of_defense in groupby(measured, key=lambda result: result.run.defense):
        members = list(of_defense)
        rows += [_row(member, list(heads)) for member in members]
        rows += _printed(members[0], list(heads))
    attacks = sorted({attack_name((one.suite.geometry or {})["adversarial"].get("attack", "")) for one in measured})
    return Table(
        title=f"{measured[0].place}: what the attack changes in the geometry, {measured[0].suite.name} suite",
        caption=f"Value of the attacked images ({' or '.join(attacks)}) minus that of the clean ones, and the change "
        "in percent of the clean value. FDR and AFS grow as classes run into each other; SCR falls. The nearer to 0, "
        "the less the attack moves the features.",
        columns=[Column(head, "attacked − clean") for head in heads.values()],
        rows=rows,
        footnotes=[],
    )


def _has_both_sides(result: Result) -> bool:
    stored = result.suite.geometry or {}
    return bool(stored.get("clean") and stored.get("adversarial"))


def _row(result: Result, names: list[str]) -> Row:
    stored = result.suite.geometry or {}
    cells = [_cell(stored["clean"].get(name), stored["adversarial"].get(name)) for name in names]
    return Row("run", result.run.defense, result.run.method, result.source, cells)


def _cell(clean: float | None, attacked: float | None) -> Cell:
    if clean is None or attacked is None:
        return Cell(MISSING)
    change = attacked - clean
    share = f"{100 * change / clean:+.0f} % of clean".replace("-", "−") if clean else ""
    return Cell(_signed(change), value=change, difference=share)


def _signed(change: float) -> str:
    """With a minus sign as wide as the plus sign."""
    return ("−" if change < 0 else "+") + number(abs(change))


def _printed(result: Result, names: list[str]) -> Iterator[Row]:
    """The same difference of what Table 4 of the paper prints, where it is of the same images and attack."""
    table = published.geometry(result.suite.data, result.run.backbone, result.run.defense)
    if table is not None and on_the_papers_images(result) and _under_the_papers_attack(result):
        nothing = (None, None)
        yield published_row(result, [_cell(*table.get(_PRINTED.get(name, ""), nothing)) for name in names])


def _under_the_papers_attack(result: Result) -> bool:
    """The attack under which features were taken is named without its step, which its row of the suite has."""
    attacked = (result.suite.geometry or {})["adversarial"].get("attack")
    return attacked == "pgd-20 linf 8/255" and any(SHARED_PGD20.fits(row.key) for row in result.suite.rows)
