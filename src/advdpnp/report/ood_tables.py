"""What a report says of outside images: tables of the runs that were measured on the same images, and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from advdpnp.indices import images_text
from advdpnp.ood_results import AcceptRow, OodResult, OutsideRow
from advdpnp.report.declared_metrics import MISSING
from advdpnp.report.read import RunResults
from advdpnp.report.tables import Cell, Column, Row, Table, percent

TITLE = "Images from outside"
TEXT = (
    "How well a score of single images tells the test images from those of other data: the area under the ROC curve, "
    "and the share of outside images that pass the threshold that 95 % of the test images pass. Test images are the "
    "positive class, and a higher score means more like them."
)

# Runs whose outside images may be compared, with what was measured of them.
Measured = list[tuple[RunResults, OodResult]]


def ood_tables(runs: Sequence[RunResults]) -> list[Table]:
    """For runs with the same test images, a table of the outside sets, and one of what is accepted."""
    found = [(run, run.ood) for run in runs if run.ood is not None]
    found.sort(key=lambda pair: _group(*pair))
    groups = [list(members) for _, members in groupby(found, key=lambda pair: _group(*pair))]
    return [table for members in groups for table in (_against(members), _accepting(members)) if table is not None]


def _group(run: RunResults, result: OodResult) -> tuple[str, int, str]:
    return run.place, result.n, result.indices


def _against(members: Measured) -> Table | None:
    sets = list(dict.fromkeys((row.name, row.n, row.conversion) for _, result in members for row in result.outside))
    if not sets:
        return None
    columns = [Column("Score")]
    for name, n, conversion in sets:
        details = f"{n:,} images" + (f", {conversion}" if conversion else "")
        columns += [Column("AUROC", name, details), Column("FPR at 95 % TPR", name, details)]
    remarks = [f"{row.name}: {text}" for _, result in members for row in result.outside for text in row.remarks]
    said = [f"{name}: {conversion}." for name, _, conversion in sets if conversion]
    run, result = members[0]
    return Table(
        title=f"{run.place}: outside images told by a score",
        caption=" ".join([f"{images_text(result.indices, result.n)}; in percent, with 95 % intervals.", *said]),
        columns=columns,
        rows=[line for run, result in members for line in _against_rows(run, result, sets)],
        footnotes=list(dict.fromkeys(remarks)),
    )


def _against_rows(run: RunResults, result: OodResult, sets: list[tuple[str, int, str]]) -> Iterator[Row]:
    rows = {(row.name, row.n, row.conversion): row for row in result.outside}
    for score in result.scores:
        cells = [Cell(score)]
        for key in sets:
            cells += _against_cells(rows[key], score, result.n) if key in rows else [Cell(MISSING), Cell(MISSING)]
        yield Row("run", run.defense, run.method, _source(run, result), cells)


def _against_cells(row: OutsideRow, score: str, n: int) -> list[Cell]:
    found, fewer = row.scores[score], min(n, row.n)
    pairs = ((found.auroc, found.auroc_interval95), (found.fpr95, found.fpr95_interval95))
    return [_share_cell(value, interval, fewer) for value, interval in pairs]


def _share_cell(value: float, interval: list[float], n: int) -> Cell:
    low, high = interval
    return Cell(percent(value, n), f"{percent(low, n)}–{percent(high, n)}", value, (low, high))


def _accepting(members: Measured) -> Table:
    labels = list(dict.fromkeys(row.label for _, result in members for row in result.accepting))
    heads = ("AURC", "best possible", "accepted, right", "accepted, wrong")
    columns = [Column("Score"), *(Column(head, label) for label in labels for head in heads)]
    run, result = members[0]
    return Table(
        title=f"{run.place}: test images accepted by a score",
        caption=f"{images_text(result.indices, result.n)}. AURC: area under the share of wrong answers against the "
        "share that is accepted, lower is better. Accepted: at the threshold that 95 % of the clean test images pass, "
        "in percent of all. The attack follows the classifier's loss and not the score: one that keeps the score up "
        "too may leave less.",
        columns=columns,
        rows=[line for run, result in members for line in _accepting_rows(run, result, labels)],
        footnotes=[],
    )


def _accepting_rows(run: RunResults, result: OodResult, labels: list[str]) -> Iterator[Row]:
    rows = {row.label: row for row in result.accepting}
    for score in result.scores:
        cells = [Cell(score)]
        for label in labels:
            cells += _accepting_cells(rows[label], score, result.n) if label in rows else [Cell(MISSING)] * 4
        yield Row("run", run.defense, run.method, _source(run, result), cells)


def _accepting_cells(row: AcceptRow, score: str, n: int) -> list[Cell]:
    found = row.scores[score]
    areas = [Cell(f"{area:.3f}", value=area) for area in (found.aurc, found.best_aurc)]
    return areas + [Cell(percent(share, n), value=share) for share in (found.accepted_right, found.accepted_wrong)]


def _source(run: RunResults, result: OodResult) -> str:
    return result.checkpoint if run.foreign else f"seed {run.seed}, {result.checkpoint} checkpoint"
