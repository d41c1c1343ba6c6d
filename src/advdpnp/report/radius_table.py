"""The table of the smallest eps of each image, as far as searches have found it."""

from __future__ import annotations

from collections.abc import Iterator

from advdpnp.attack_words import radius_text
from advdpnp.indices import image_count
from advdpnp.report.read import Result
from advdpnp.report.tables import Cell, Column, Row, Table
from advdpnp.results import AttackResult

_COLUMNS = (("Median", "0.5"), ("5 %", "0.05"), ("25 %", "0.25"), ("75 %", "0.75"), ("95 %", "0.95"))


def radius_table(results: list[Result]) -> Table | None:
    """Quantiles of the smallest eps of comparable results, a line for each search; None if no result has any."""
    rows = [_row(result, search) for result in results for search in _searches(result)]
    if not rows:
        return None
    first = results[0]
    columns = [Column(head, "of the images") for head, _ in _COLUMNS]
    return Table(
        title=f"{first.place}: the smallest eps of each image, {first.suite.name} suite",
        caption=f"{image_count(first.suite.n)}; of those that are right without an attack, so many are broken at this "
        "radius. Each radius is an upper bound, since a better search may find a smaller one. "
        "Mean: images that were not broken up to the largest radius (censored) count as that.",
        columns=[Column("Search"), *columns, Column("Mean"), Column("Right"), Column("Censored")],
        rows=rows,
        footnotes=[],
        group=first.group,
    )


def _searches(result: Result) -> Iterator[AttackResult]:
    return (row for row in result.suite.rows if row.smallest_eps)


def _row(result: Result, search: AttackResult) -> Row:
    found, key = search.smallest_eps or {}, search.key
    radii = [found["quantiles"][share] for _, share in _COLUMNS]
    mean = "–" if found["mean"] is None else f"{'≥ ' if found['censored'] else ''}{_short(search, found['mean'])}"
    texts = [key.details, *(_short(search, radius) if found["correct"] else "–" for radius in radii), mean]
    cells = [Cell(text) for text in [*texts, str(found["correct"]), str(found["censored"])]]
    return Row("run", result.run.defense, result.run.method, result.source, cells)


def _short(search: AttackResult, radius: float | None) -> str:
    return radius_text(radius, search.key.norm, search.key.eps).replace("beyond", ">")
