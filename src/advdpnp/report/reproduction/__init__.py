"""How far the paper is reproduced: every number that it prints, beside the nearest that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advdpnp.report.methods import method
from advdpnp.report.plain_page import plain_page
from advdpnp.report.published.tables import TABLES
from advdpnp.report.read import RunResults
from advdpnp.report.reproduction.standings import POINTS, SHARE, VERDICTS, PaperRow, Verdict, counted, paper_rows

FILE = "reproduction.html"


@dataclass(frozen=True)
class _Block:
    number: int
    title: str
    heads: list[str]
    rows: list[PaperRow]
    counts: dict[Verdict, int]


def has_rows(runs: Sequence[RunResults]) -> bool:
    """Whether the paper has a row of any of these methods on the data of the run."""
    printed = {(place.data, place.defense) for table in TABLES.values() for place in table.rows}
    return any((run.data, run.defense) in printed for run in runs)


def reproduction_page(runs: Sequence[RunResults]) -> str:
    """A self-contained page with a table for each table of the paper, and counts on top.

    Args:
        runs: everything that was measured, in the order of tables.
    """
    blocks = [
        _Block(
            number,
            TABLES[number].title,
            [column.title for column in TABLES[number].columns],
            rows,
            counted(one for row in rows for one in row.standings),
        )
        for number, rows in paper_rows(runs).items()
    ]
    everything = counted(one for block in blocks for row in block.rows for one in row.standings)
    return plain_page(
        "reproduction.html.j2",
        title="What of the paper is reproduced",
        blocks=blocks,
        counts=everything,
        total=sum(everything.values()),
        verdicts=VERDICTS,
        points=POINTS,
        share=SHARE,
        method=method,
    )
