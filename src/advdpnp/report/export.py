"""Tables of a report as CSV and LaTeX."""

from __future__ import annotations

import csv
import io

from advdpnp.report.tables import Cell, Result, Table, accuracy_table

_HEAD = (
    *("data", "backbone", "suite", "n", "indices", "kind", "method", "source", "departures", "attack", "budget"),
    *("accuracy", "low", "high"),
)


def to_csv(groups: list[list[Result]]) -> str:
    """Accuracy tables in long form: one line per row and column, numbers as fractions.

    Args:
        groups: lists of comparable results, as from `grouped`.
    Returns:
        CSV with a header; `low` and `high` are the 95 % interval of a run, the extremes of a mean, empty if published.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEAD)
    lines: dict[tuple[object, ...], None] = {}
    for group in groups:
        table = accuracy_table(group)
        for row in table.rows:
            notes = "; ".join(table.footnotes[note] for note in row.notes)
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell.value is not None:
                    data, backbone, *images = group[0].group
                    where = (data, row.backbone or backbone, *images, row.kind, row.method, row.source, notes)
                    # A network from elsewhere stands in several tables.
                    lines[(*where, column.head, column.budget, cell.value, *(cell.limits or ("", "")))] = None
    writer.writerows(lines)
    return text.getvalue()


_LATEX = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "–": "--", "“": "``", "”": "''", "ε": r"$\varepsilon$",
    "ℓ∞": r"$\ell_\infty$", "ℓ2": r"$\ell_2$", "ℓ1": r"$\ell_1$", "°": r"($^\circ$)", "|": "$|$",
}  # fmt: skip


def _latex(text: str) -> str:
    for plain, code in _LATEX.items():
        text = text.replace(plain, code)
    return text


def _latex_cell(cell: Cell) -> str:
    number = rf"\textbf{{{cell.text}}}" if cell.best else _latex(cell.text)
    return rf"{number} {{\scriptsize [{_latex(cell.interval)}]}}" if cell.interval else number


def mark(note: int) -> str:
    """The letter of a footnote."""
    return chr(ord("a") + note)


def to_latex(table: Table) -> str:
    """A LaTeX tabular that needs no package; title, caption and footnotes as comments above it."""
    notes = [f"{mark(index)}: {note}" for index, note in enumerate(table.footnotes)]
    comments = "".join(f"% {line}\n" for line in (table.title, table.caption, *notes))
    heads = [_latex(f"{column.head} {column.budget}".strip()) for column in table.columns]
    lines = [rf"{' & '.join(['Method', *heads])} \\ \hline"]
    for row in table.rows:
        marks = f"$^{{{','.join(map(mark, row.notes))}}}$" if row.notes else ""
        method = f"{_latex(row.method)}{marks}, {_latex(row.source)}"
        lines.append(rf"{' & '.join([method, *map(_latex_cell, row.cells)])} \\")
    layout = "l" + "r" * len(table.columns)
    return comments + f"\\begin{{tabular}}{{{layout}}} \\hline\n" + "\n".join(lines) + " \\hline\n\\end{tabular}\n"
