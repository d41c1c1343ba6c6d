"""Measured speed beside floors and targets, from the stored measurements."""

import sys
from pathlib import Path
from typing import Any

import ink
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from peers.page import measurements
from peers.verdicts import judged

_COLORS = {"red": ink.WRONG, "floor": ink.RIGHT, "target": ink.RIGHT, "unjudged": ink.FAINT}


def performance() -> Figure:
    """One row for each floor: what was measured as a part of the target, its spread, and where the floor is."""
    rows = [
        row | {"machine": result["machine"]["cpu"].split("(")[0], "name": _with_batch(row["name"], result)}
        for result in measurements().values()
        for row in judged(result)
        if "value" in row and row["floor"]
    ]
    figure, axis = plt.subplots(figsize=(8, 0.8 + 0.34 * len(rows)))
    for place, row in enumerate(reversed(rows)):
        value, least, most, floor = (row[key] / row["target"] for key in ("value", "least", "most", "floor"))
        axis.barh(place, value, color=_COLORS[row["verdict"]], height=0.6)
        axis.plot([least, most], [place, place], color=ink.INK, linewidth=1.2)
        axis.plot([floor, floor], [place - 0.38, place + 0.38], color=ink.INK, linewidth=2)
        text = f"{row['value']:.2f}x" if row["unit"] == "x" else f"{row['value']:.0%}"
        axis.text(max(value, most, floor) + 0.02, place, text, va="center", fontsize=9)
    axis.axvline(1, color=ink.FAINT, linestyle="--")
    axis.set_yticks(range(len(rows)), [_label(row) for row in reversed(rows)], fontsize=9)
    axis.set_xlabel("part of the target (dashed); the black mark is the floor, the line the spread of the rounds")
    return figure


def _with_batch(name: str, result: dict[str, Any]) -> str:
    """The name of a floor with the number of images that an attack or a step has."""
    for backbone, batch, _ in result["protocol"]["networks"]:
        if name.startswith(f"{backbone}, ") and "AutoAttack" not in name:
            return name.replace(f"{backbone}, ", f"{backbone}, batch {batch}, ", 1)
    return name


def _label(row: dict[str, Any]) -> str:
    return f"{row['machine']}: {row['name']}, {row['precision']}"
