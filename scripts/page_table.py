"""Tables in the pages that scripts write."""

from collections.abc import Sequence
from typing import Any


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A table in Markdown, a line for each row."""
    lines = [" | ".join(map(str, row)) for row in (titles, ["---"] * len(titles), *rows)]
    return [f"| {line} |" for line in lines]
