"""Tables 1 to 8 of the paper, with what was measured beside what it prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from advdpnp.report.csv_text import csv_text
from advdpnp.report.declared_metrics import MISSING
from advdpnp.report.methods import METHODS, method
from advdpnp.report.paper_values import Value, apart, number_text, signed_text, value_of
from advdpnp.report.published import departures
from advdpnp.report.published.tables import TABLES, PaperTable, Place, PrintedColumn
from advdpnp.report.read import RunResults
from advdpnp.report.tables import Cell, Column, Row, Table

CAPTION = (
    "Slanted: what the paper prints. Below it what was measured here, with its 95 % interval (of several seeds: mean, "
    "lowest and highest) and its difference from the paper. Letters: where the protocol is not the paper's. Bold and "
    "underlined: best and second, only where the exact McNemar test on the same images tells them from the next "
    "(p < 0.05)."
)


@dataclass(frozen=True)
class _Measured:
    """One method's runs, and their values for each column of one table."""

    runs: Sequence[RunResults]
    values: tuple[tuple[Value, ...], ...]


def paper_tables(runs: Sequence[RunResults]) -> list[Table]:
    """A table for each of the paper's tables, data sets and backbones of which these runs measured anything.

    Args:
        runs: in the order of tables; those that the paper has no place for are left out.
    """
    places = dict.fromkeys((run.data, run.backbone) for run in runs if not run.foreign)
    found = (
        _table(table, data, backbone, runs)
        for table in TABLES.values()
        for data, backbone in places
        if any(place[:2] == (data, backbone) for place in table.rows)
    )
    return [table for table in found if table is not None]


def _table(table: PaperTable, data: str, backbone: str, runs: Sequence[RunResults]) -> Table | None:
    printed = {place.defense: row for place, row in table.rows.items() if place[:2] == (data, backbone)}
    ours = list(_measurements(table, [run for run in runs if (run.data, run.backbone) == (data, backbone)]))
    if not any(any(measured.values) for measured in ours):
        return None
    footnotes: list[str] = []
    rows = _mark_apart(table, list(_rows(printed, ours, table, footnotes)), ours)
    return Table(
        title=f"Table {table.number}, {data}/{backbone}: {table.title}",
        caption="",
        columns=[Column(column.title) for column in table.columns],
        rows=rows,
        footnotes=footnotes,
        group=(data, backbone, f"table{table.number}", 0, ""),
        commands=tuple(_commands(table, Place(data, backbone, ""), printed, ours)),
    )


def _measurements(table: PaperTable, runs: Sequence[RunResults]) -> Iterator[_Measured]:
    """Methods with the seeds of each, in the order of the runs; a recipe of its own makes a method of its own.

    A table of one method alone is of that method alone.
    """
    printed = {place.defense for place in table.rows}
    methods: dict[tuple[str, str], list[RunResults]] = {}
    for run in runs:
        if len(printed) == 1 and run.defense not in printed:
            continue
        methods.setdefault((run.method, run.recipe), []).append(run)
    for seeds in methods.values():
        values = ([value_of(column, run) for run in seeds] for column in table.columns)
        yield _Measured(seeds, tuple(tuple(value for value in found if value is not None) for found in values))


def _rows(
    printed: dict[str, tuple[float, ...]], ours: Sequence[_Measured], table: PaperTable, footnotes: list[str]
) -> Iterator[Row]:
    """The paper's row of each method and the measured ones below it; methods of ours alone come last."""
    order = [*(name for name in METHODS if name in printed), *dict.fromkeys(one.runs[0].defense for one in ours)]
    for defense in dict.fromkeys(order):
        numbers = printed.get(defense)
        if numbers is not None:
            cells = [Cell(number_text(column, number)) for column, number in zip(table.columns, numbers, strict=True)]
            yield Row("published", defense, method(defense).title, "the paper", cells)
        for measured in (one for one in ours if one.runs[0].defense == defense):
            if any(measured.values):
                # A variant, such as a term switched off, is another method than the printed one.
                yield _measured_row(measured, None if measured.runs[0].tag else numbers, table, footnotes)


def _measured_row(
    measured: _Measured, numbers: tuple[float, ...] | None, table: PaperTable, footnotes: list[str]
) -> Row:
    first, count = measured.runs[0], len(measured.runs)
    source = f"seed {first.seed}" if count == 1 else f"{count} seeds"
    cells = []
    for place, (column, values) in enumerate(zip(table.columns, measured.values, strict=True)):
        cells.append(_cell(column, values, None if numbers is None else numbers[place], footnotes))
    # What holds for the whole row is said once, at its head.
    common = set.intersection(*(set(cell.footnotes) for cell in cells if cell.text != MISSING))
    cells = [replace(cell, footnotes=tuple(note for note in cell.footnotes if note not in common)) for cell in cells]
    kind, marks = "run" if count == 1 else "mean", tuple(sorted(common))
    return Row(kind, first.defense, first.method, f"{source}, {first.recipe} recipe", cells, footnotes=marks)


def _cell(column: PrintedColumn, values: Sequence[Value], printed: float | None, footnotes: list[str]) -> Cell:
    if not values:
        return Cell(MISSING)
    number = sum(value.number for value in values) / len(values)
    limits = values[0].limits if len(values) == 1 else _extremes(values)
    told = dict.fromkeys(text for value in values for text in departures(value.result))
    footnotes += [text for text in told if text not in footnotes]
    difference = "" if printed is None else f"{signed_text(column, number - printed)} from the paper"
    return Cell(
        text=number_text(column, number),
        interval="" if limits is None else "–".join(number_text(column, limit) for limit in limits),
        value=number,
        limits=limits,
        difference=difference,
        footnotes=tuple(sorted(map(footnotes.index, told))),
    )


def _extremes(values: Sequence[Value]) -> tuple[float, float]:
    numbers = [value.number for value in values]
    return min(numbers), max(numbers)


def _mark_apart(table: PaperTable, rows: list[Row], ours: Sequence[_Measured]) -> list[Row]:
    """Best and second of each column of accuracies, where the test tells each from the next one."""
    shown = [measured for measured in ours if any(measured.values)]
    by_row = {_identity(measured.runs[0]): measured for measured in shown}
    marks: dict[tuple[str, int], str] = {}
    for place, column in enumerate(table.columns):
        for name, word in _apart_in(column, place, shown).items():
            marks[name, place] = word

    def marked(row: Row) -> Row:
        cells = [
            replace(cell, best=word == "best", second=word == "second")
            for place, cell in enumerate(row.cells)
            for word in [marks.get((_row_identity(row), place), "")]
        ]
        return replace(row, cells=cells)

    return [marked(row) if row.kind != "published" and _row_identity(row) in by_row else row for row in rows]


def _identity(run: RunResults) -> str:
    return f"{run.method}/{run.recipe}"


def _row_identity(row: Row) -> str:
    recipe = row.source.rpartition(", ")[2].removesuffix(" recipe")
    return f"{row.method}/{recipe}"


def _apart_in(column: PrintedColumn, place: int, ours: Sequence[_Measured]) -> dict[str, str]:
    if column.kind not in ("clean", "attack"):
        return {}
    # As in the paper, the accuracy of the undefended network competes with none.
    rivals = [one for one in ours if one.values[place] and one.runs[0].defense != "st"]
    rivals.sort(key=lambda one: -sum(value.number for value in one.values[place]) / len(one.values[place]))
    found = {}
    for word, (better, worse) in zip(("best", "second"), pairwise(rivals)):
        # Where nobody can be told to be the best, nobody is the second either.
        if not apart(better.values[place], worse.values[place]):
            break
        found[_identity(better.runs[0])] = word
    return found


def _commands(table: PaperTable, place: Place, printed: Iterable[str], ours: Sequence[_Measured]) -> Iterator[str]:
    """What fills the cells that are empty: for each method of the paper, its training or its evaluation."""
    for defense in printed:
        own = [one for one in ours if one.runs[0].defense == defense and not one.runs[0].tag]
        lacking = [run for measured in own for run in measured.runs if not all(measured.values)]
        if lacking or not own:
            yield from filling_commands(table, place._replace(defense=defense), lacking)


def filling_commands(table: PaperTable, place: Place, runs: Sequence[RunResults]) -> Iterator[str]:
    """What measures a row of the paper: evaluations of these runs of its method, or its training if there are none."""
    if not runs:
        yield f"advdpnp train {place.data}/{place.backbone}/{place.defense} --recipe paper"
    for run in runs:
        yield f"advdpnp evaluate {run.folder} --suite table{table.number}"


_HEAD = (
    *("table", "data", "backbone", "kind", "method", "source", "column", "value", "low", "high"),
    *("difference", "departures"),
)


def paper_csv(tables: Iterable[Table]) -> str:
    """The paper's tables in long form: a line for each number, printed or measured, in the table's own units.

    Args:
        tables: of `paper_tables`.
    """
    return csv_text(_HEAD, _lines(tables))


def _lines(tables: Iterable[Table]) -> Iterator[tuple[object, ...]]:
    for table in tables:
        data, backbone, name, *_ = table.group
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell.text == MISSING:
                    continue
                departed = "; ".join(table.footnotes[index] for index in sorted({*row.footnotes, *cell.footnotes}))
                value = cell.text if cell.value is None else cell.value
                where = (name, data, backbone, row.kind, row.method, row.source, column.head)
                yield (*where, value, *(cell.limits or ("", "")), cell.difference, departed)
