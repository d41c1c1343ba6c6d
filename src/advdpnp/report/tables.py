"""Tables of a report: accuracy under each attack and geometry, as values, and written as CSV and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from advdpnp.attack_words import attack_name, worst_case_name
from advdpnp.indices import image_count, of_the_first, short_indices
from advdpnp.report import published
from advdpnp.report.csv_text import csv_text
from advdpnp.report.declared_metrics import MISSING, Declared, declared, number
from advdpnp.report.methods import method
from advdpnp.report.published import departures
from advdpnp.report.read import Result, by_method
from advdpnp.results import MEAN_SEPARATION, PAIRWISE, Accuracy, AttackKey


@dataclass(frozen=True)
class Column:
    """Head of a column: what was measured, its budget, and the whole protocol in words."""

    head: str
    budget: str = ""
    details: str = ""


@dataclass(frozen=True)
class Cell:
    """A number as it is printed.

    Args:
        text: the number.
        interval: its limits, as printed.
        value, limits: the fractions behind it.
        best, second: whether it is the best or the second of its column.
        difference: from the published number, or what else a number is to another one, in words.
        footnotes: indices of the footnotes that hold for it alone.
    """

    text: str
    interval: str = ""
    value: float | None = None
    limits: tuple[float, float] | None = None
    best: bool = False
    second: bool = False
    difference: str = ""
    footnotes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        kind: "run", "mean" (of several seeds) or "published" (printed in the paper).
        defense: name of the defense, as in the configuration.
        method: the method as people call it.
        source: seed, recipe and checkpoint, or where else the numbers are from.
        cells: one for each column.
        compared: whether this row stands for its method when the best of a column is sought.
        footnotes: indices of the footnotes that hold for it.
    """

    kind: str
    defense: str
    method: str
    source: str
    cells: list[Cell]
    compared: bool = False
    footnotes: tuple[int, ...] = ()
    backbone: str = ""


@dataclass(frozen=True)
class Table:
    """One table: all rows were measured on the same images; those of the paper's own tables say where they were not.

    Args:
        group: that of its results, see `Result`.
        commands: what fills the empty cells.
        remarks: what its numbers show, in sentences.
    """

    title: str
    caption: str
    columns: list[Column]
    rows: list[Row]
    footnotes: list[str]
    group: tuple[str, str, str, int, str] = ("", "", "", 0, "")
    commands: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def percent(fraction: float, n: int) -> str:
    """A fraction of n images in percent, with no more decimals than n images can tell apart."""
    return f"{100 * fraction:.{2 if n >= 10_000 else 1}f}"


def _cell(accuracy: Accuracy | None, n: int) -> Cell:
    if accuracy is None:
        return Cell(MISSING)
    interval = f"{percent(accuracy.low, n)}–{percent(accuracy.high, n)}"
    return Cell(percent(accuracy.value, n), interval, accuracy.value, (accuracy.low, accuracy.high))


def spread(seeds: list[Accuracy]) -> Accuracy:
    """Mean of several seeds, with their smallest and largest as limits."""
    values = [seed.value for seed in seeds]
    return Accuracy(sum(values) / len(values), min(values), max(values))


def published_row(result: Result, cells: list[Cell]) -> Row:
    """What the paper prints of a result's method."""
    defense = result.run.defense
    return Row("published", defense, method(defense).title, "published, arXiv 2504.03782", cells)


def _published_row(result: Result, keys: list[AttackKey]) -> Row | None:
    printed = published.accuracies(result.suite.data, result.run.backbone, result.run.defense)
    # The paper's numbers are of the whole test set: beside chosen images they would compare nothing.
    if printed is None or not of_the_first(result.suite.indices, result.suite.n):
        return None
    worst_case = [printed.worst_case(keys)] if keys else []
    values = [printed.clean, *map(printed.attack, keys), *worst_case]
    cells = [Cell(MISSING) if value is None else Cell(f"{value:.2f}", value=value / 100) for value in values]
    return published_row(result, cells)


def _method_rows(seeds: list[Result], columns: list[AttackKey | str], footnotes: list[str]) -> Iterator[Row]:
    n, alone = seeds[0].suite.n, len(seeds) == 1
    for result in seeds:
        cells = [_cell(result.accuracies.get(column), n) for column in columns]
        marks = tuple(sorted(map(footnotes.index, departures(result))))
        yield Row("run", result.run.defense, result.run.method, result.source, cells, alone, marks, result.run.backbone)
    if not alone:
        measured = [[seed.accuracies[column] for seed in seeds if column in seed.accuracies] for column in columns]
        cells = [_cell(spread(values) if values else None, n) for values in measured]
        yield Row(
            "mean",
            seeds[0].run.defense,
            seeds[0].run.method,
            f"mean of {len(seeds)} seeds, min to max",
            cells,
            compared=True,
            backbone=seeds[0].run.backbone,
        )


def _mark_best(rows: list[Row]) -> list[Row]:
    """Mark the highest number of each column, one number per method: its mean where there are several seeds."""
    compared = [row for row in rows if row.compared]
    if len(compared) < 2:
        return rows
    columns = zip(*(row.cells for row in compared), strict=True)
    best = [max((cell.value for cell in column if cell.value is not None), default=None) for column in columns]

    def marks(row: Row) -> Row:
        cells = zip(row.cells, best, strict=True)
        return replace(row, cells=[replace(cell, best=top is not None and cell.value == top) for cell, top in cells])

    return [marks(row) if row.compared else row for row in rows]


def attack_keys(results: Iterable[Result]) -> list[AttackKey]:
    """All attacks of these results, in the order in which they first occur."""
    return list(dict.fromkeys(key for result in results for key in result.suite.attacks))


def _head(key: AttackKey, keys: list[AttackKey]) -> str:
    """Label of an attack's column, with what tells it from other columns of the same label and budget."""
    alike = [other.texts for other in keys if (other.label, other.budget) == (key.label, key.budget) and other != key]
    return ", ".join([key.label, *(text for text in key.texts if any(text not in texts for texts in alike))])


def _worst_case_head(keys: list[AttackKey]) -> str:
    name = worst_case_name((key.name, key.steps) for key in keys)
    return name[0].upper() + name[1:]


def accuracy_table(results: list[Result]) -> Table:
    """Clean, robust and worst-case accuracy of comparable results (Tables 1 and 2 of the paper).

    Args:
        results: one of the lists of `grouped`.
    Returns:
        One row per run; a mean row after two or more seeds of a method; a published row where the paper prints one.
    """
    keys, first = attack_keys(results), results[0]
    footnotes = list(dict.fromkeys(text for result in results for text in departures(result)))
    columns: list[AttackKey | str] = ["clean", *keys, "worst case"] if keys else ["clean"]
    heads = [Column("Clean"), *(Column(_head(key, keys), key.budget, key.details) for key in keys)]
    rows: list[Row] = []
    for _, of_defense in groupby(by_method(results), key=lambda seeds: seeds[0].run.defense):
        for seeds in of_defense:
            rows += _method_rows(seeds, columns, footnotes)
        printed = _published_row(seeds[0], keys)
        rows += [printed] if printed else []
    images = f"{image_count(first.suite.n)} ({short_indices(first.suite.indices)})"
    return Table(
        title=f"{first.place}: accuracy under the {first.suite.name} suite",
        caption=f"Accuracy in percent on {images}; 95 % Wilson interval below each."
        + (" Worst case: right on the clean image and under every attack." if keys else ""),
        columns=[*heads, Column(_worst_case_head(keys), "all of these")] if keys else heads,
        rows=_mark_best(rows),
        footnotes=footnotes,
        group=first.group,
    )


_STATISTICS = ("fdr_eq8", "fdr_trace_ratio", "fdr_trace_ratio_per_class", "afs", "scr")
_CENTERS = ("scr_floor", MEAN_SEPARATION, "min_separation_degrees")
GEOMETRY_COLUMNS = [
    *(Column(head, "clean | attacked") for head in ("FDR Eq. 8", "FDR W/B", "FDR W/B/C", "AFS", "SCR")),
    *(Column(head, "of centers") for head in ("SCR floor", "MeanSep °", "MinSep °")),
]


def _geometry_cells(
    statistics: Iterable[tuple[float | None, float | None]], floor: float | None, angles: Iterable[float | None]
) -> list[Cell]:
    pairs = [Cell(f"{number(clean)} | {number(attacked)}") for clean, attacked in statistics]
    degrees = [Cell(MISSING if angle is None else f"{angle:.2f}") for angle in angles]
    return [*pairs, Cell(number(floor)), *degrees]


_ALL_PAIRS = (
    "stored by an earlier version, whose MeanSep was the mean angle over all pairs of centers and not that to the "
    "nearest rival (Eq. 11): evaluate the run again"
)


def _without_mean_separation(result: Result) -> list[str]:
    """What is said of a result of an earlier version."""
    stored = result.suite.geometry or {}
    return [_ALL_PAIRS] if PAIRWISE in stored and MEAN_SEPARATION not in stored else []


def _geometry_row(result: Result, more: list[Declared], footnotes: list[str]) -> Row:
    stored = result.suite.geometry or {}
    clean, attacked = stored.get("clean", {}), stored.get("adversarial", {})
    floor, *angles = map(stored.get, _CENTERS)
    cells = _geometry_cells(((clean.get(name), attacked.get(name)) for name in _STATISTICS), floor, angles)
    cells += [Cell(metric.text(stored)) for metric in more]
    marks = tuple(map(footnotes.index, _without_mean_separation(result)))
    return Row("run", result.run.defense, result.run.method, result.source, cells, footnotes=marks)


def _published_geometry(result: Result, more: list[Declared]) -> Row | None:
    printed = published.geometry(result.suite.data, result.run.backbone, result.run.defense)
    attack = str((result.suite.geometry or {}).get("adversarial", {}).get("attack", ""))
    # The paper's numbers are of the whole test set, under an attack in linf.
    if printed is None or not of_the_first(result.suite.indices, result.suite.n) or " l2 " in attack:
        return None
    nothing = (None, None)
    statistics = [nothing, nothing, printed["fdr"], printed["afs"], printed["scr"]]
    cells = _geometry_cells(statistics, None, printed["separation"])
    return published_row(result, [*cells, *(Cell(MISSING) for _ in more)])


def geometry_table(results: list[Result]) -> Table | None:
    """Geometry of features and class centers (Eqs. 8-12) of comparable results; None if no result has any."""
    measured = [result for result in results if result.suite.geometry]
    if not measured:
        return None
    footnotes = list(dict.fromkeys(text for result in measured for text in _without_mean_separation(result)))
    more = declared(result.suite.geometry or {} for result in measured)
    rows: list[Row] = []
    for _, of_defense in groupby(measured, key=lambda result: result.run.defense):
        members = list(of_defense)
        rows += [_geometry_row(member, more, footnotes) for member in members]
        printed = _published_geometry(members[0], more)
        rows += [printed] if printed else []
    first = measured[0]
    attacks = {(result.suite.geometry or {}).get("adversarial", {}).get("attack", "") for result in measured}
    return Table(
        title=f"{first.place}: geometry of the features, {first.suite.name} suite",
        caption=f"{image_count(first.suite.n)}, attacked with {' or '.join(sorted(map(attack_name, attacks)))}. "
        "FDR and AFS: lower is more discriminative. SCR: higher is more separate, but it is a ratio of distances "
        "between features and centers, so it compares only methods in which the two share a scale; features that are "
        "all zero score the floor. FDR is given as Eq. 8 prints it, as the ratio of total within- to between-class "
        "scatter (W/B), and that over the number of classes, the form whose size fits the paper's table. MeanSep: "
        "angle of a center to its nearest rival, averaged over the centers."
        + "".join(f" {metric.head[2]}." for metric in more if metric.better),
        columns=GEOMETRY_COLUMNS + [Column(*metric.head) for metric in more],
        rows=rows,
        footnotes=footnotes,
    )


_HEAD = (
    *("data", "backbone", "suite", "n", "indices", "kind", "method", "source", "departures", "attack", "budget"),
    *("accuracy", "low", "high"),
)


def to_csv(tables: Iterable[Table]) -> str:
    """Accuracy tables in long form: one line per row and column, numbers as fractions.

    Args:
        tables: of `accuracy_table`.
    Returns:
        CSV with a header; `low` and `high` are the 95 % interval of a run, the extremes of a mean, empty if published.
    """
    lines: dict[tuple[object, ...], None] = {}
    for table in tables:
        data, backbone, *images, indices = table.group
        images.append(short_indices(indices))
        for row in table.rows:
            departed = "; ".join(table.footnotes[index] for index in row.footnotes)
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell.value is not None:
                    where = (data, row.backbone or backbone, *images, row.kind, row.method, row.source, departed)
                    # A network from elsewhere stands in several tables.
                    lines[(*where, column.head, column.budget, cell.value, *(cell.limits or ("", "")))] = None
    return csv_text(_HEAD, lines)


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "^": r"\^{}", "~": r"\~{}",
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "–": "--", "“": "``", "”": "''", "ε": r"$\varepsilon$",
    "ℓ∞": r"$\ell_\infty$", "ℓ2": r"$\ell_2$", "ℓ1": r"$\ell_1$", "°": r"($^\circ$)", "|": "$|$",
}  # fmt: skip


_LATEX_SIGNS = re.compile("|".join(map(re.escape, _LATEX)))


def _latex(text: str) -> str:
    # In one pass, since the code of one sign holds others.
    return _LATEX_SIGNS.sub(lambda found: _LATEX[found[0]], text)


def _latex_cell(cell: Cell) -> str:
    number = _latex(cell.text)
    if cell.best or cell.second:
        number = rf"\{'textbf' if cell.best else 'underline'}{{{number}}}"
    number += f"$^{{{','.join(map(mark, cell.footnotes))}}}$" if cell.footnotes else ""
    return rf"{number} {{\scriptsize [{_latex(cell.interval)}]}}" if cell.interval else number


def mark(index: int) -> str:
    """The letter of a footnote: a to z, then aa, ab and so on."""
    letter = chr(ord("a") + index % 26)
    return letter if index < 26 else mark(index // 26 - 1) + letter


def to_latex(table: Table) -> str:
    """A LaTeX tabular that needs no package; title, caption and footnotes as comments above it."""
    footnotes = [f"{mark(index)}: {text}" for index, text in enumerate(table.footnotes)]
    # A line end would end the comment.
    comments = "".join(f"% {' '.join(line.split())}\n" for line in (table.title, table.caption, *footnotes))
    heads = [_latex(f"{column.head} {column.budget}".strip()) for column in table.columns]
    lines = [rf"{' & '.join(['Method', *heads])} \\ \hline"]
    for row in table.rows:
        marks = f"$^{{{','.join(map(mark, row.footnotes))}}}$" if row.footnotes else ""
        method = f"{_latex(row.method)}{marks}, {_latex(row.source)}"
        lines.append(rf"{' & '.join([method, *map(_latex_cell, row.cells)])} \\")
    layout = "l" + "r" * len(table.columns)
    return comments + f"\\begin{{tabular}}{{{layout}}} \\hline\n" + "\n".join(lines) + " \\hline\n\\end{tabular}\n"
