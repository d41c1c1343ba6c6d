"""The tables of a report as Markdown, for README files, issues and notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from advdpnp.report.sections.section import Section
from advdpnp.report.tables import Cell, Row, Table, mark

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def to_markdown(sections: Iterable[Section]) -> str:
    """All tables under the headings of their parts, as GitHub's Markdown; parts without tables are left out."""
    parts = [part for part in sections if part.tables]
    return "\n\n".join(block for part in parts for block in _part(part)) + "\n" if parts else ""


def _part(part: Section) -> Iterator[str]:
    yield f"## {_plain(part.title)}"
    if part.text:
        yield _plain(part.text)
    for table in part.tables:
        yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    yield f"### {_plain(table.title)}"
    if table.caption:
        yield _plain(table.caption)
    yield from map(_plain, table.remarks)
    heads = ["Method", *(_plain(f"{column.head} {column.budget}".strip()) for column in table.columns)]
    rule = ["---", *("---:" for _ in table.columns)]
    yield "\n".join(map(_line, [heads, rule, *map(_cells, table.rows)]))
    if table.footnotes:
        yield "\n".join(f"- {mark(index)}: {_plain(text)}" for index, text in enumerate(table.footnotes))


def _cells(row: Row) -> list[str]:
    method = f"{_plain(row.method)}{_marks(row.footnotes)}, {_plain(row.source)}"
    cells = map(_cell, row.cells)
    if row.kind == "published":
        return [f"*{method}*", *(f"*{cell}*" for cell in cells)]
    return [method, *cells]


def _cell(cell: Cell) -> str:
    text = _plain(cell.text)
    if cell.best or cell.second:
        text = f"**{text}**" if cell.best else f"<u>{text}</u>"
    text += _marks(cell.footnotes)
    text += f" ({_plain(cell.interval)})" if cell.interval else ""
    return f"{text}, {_plain(cell.difference)}" if cell.difference else text


def _marks(footnotes: Iterable[int]) -> str:
    letters = ",".join(map(mark, footnotes))
    return f"<sup>{letters}</sup>" if letters else ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text in which nothing is markup, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()).replace("&", "&amp;"))
