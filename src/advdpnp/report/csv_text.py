"""Lines as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

# What a spreadsheet takes for a formula: not a number with its sign.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d)")


def csv_text(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """CSV with a header; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_plain(value) for value in line] for line in lines)
    return text.getvalue()


def _plain(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
