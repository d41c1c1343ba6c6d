"""A measurement for people: tables, as Markdown."""

import statistics
from collections.abc import Iterator

from advdpnp.runs import Json
from peers.verdicts import difference, judged, measured, ratios, shares

_WORDS = {"red": "**under the floor**", "floor": "above the floor", "target": "target reached", "unjudged": "no floor"}


def tables(result: Json) -> str:
    """One table for each group."""
    return "\n\n".join("\n".join(_table(group)) for group in result["groups"].values() if "sides" in group)


def floors_table(result: Json) -> str:
    """Every floor whose work was measured."""
    lines = ["| | | measured (least - most) | floor | target | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in judged(result):
        value = row.get("reason") or _span(row["value"], row["least"], row["most"], row["unit"])
        verdict = _WORDS.get(row["verdict"], "no verdict")
        bounds = [_number(row[key], row["unit"]) for key in ("floor", "target")]
        lines.append(f"| {row['name']} | {row['precision']} | {value} | {bounds[0]} | {bounds[1]} | {verdict} |")
    return "\n".join(lines)


def _table(group: Json) -> Iterator[str]:
    rows = group["sides"]
    ours = [name for name in rows if name.startswith("ours") and "compiled" not in name and measured(rows[name])]
    yield f"**{group['title']}**"
    yield ""
    yield _row(["", "seconds (least - most)", "share of the ceiling", "robust", "loss", *(f"{o} is" for o in ours)])
    yield _row(["---"] * (5 + len(ours)))
    for name, row in rows.items():
        if not measured(row):
            yield _row([name, row.get("error", "not measured"), *[""] * (3 + len(ours))])
            continue
        seconds = f"{statistics.median(row['seconds']):.3g} ({min(row['seconds']):.3g} - {max(row['seconds']):.3g})"
        share = f"{statistics.median(shares(group, row)):.0%}" if group.get("ceilings") else ""
        robust = f"{statistics.fmean(row['robust_accuracy']):.1%}"
        loss = f"{statistics.fmean(row['mean_loss']):.3f}" if "mean_loss" in row else ""
        faster = ["" if name == own else _faster(rows[own], row) for own in ours]
        yield _row([name, seconds, share, robust, loss, *faster])
    if group.get("ceilings"):
        yield ""
        yield _ceilings(group)


def _faster(ours: Json, theirs: Json) -> str:
    return difference(ours, theirs) or f"{statistics.median(ratios(ours, theirs)):.2f}x"


def _ceilings(group: Json) -> str:
    parts = [
        f"{precision} {1000 * found['tflop_per_second']:.4g} GFLOP/s ({found['by']})"
        for precision, found in group["ceilings"].items()
    ]
    return f"Necessary work {group['gflop_per_image']:.4g} GFLOP an image; ceilings: {', '.join(parts)}."


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _span(value: float, least: float, most: float, unit: str) -> str:
    return f"{_number(value, unit)} ({_number(least, unit)} - {_number(most, unit)})"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "none"
    return f"{value:.2f}x" if unit == "x" else f"{value:.0%}"
