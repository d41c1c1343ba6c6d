"""Metrics whose title, direction and unit a stored result declares, beside those whose columns every report has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MISSING = "–"


def number(value: float | None) -> str:
    """A number without unit, with about three digits."""
    if value is None:
        return MISSING
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


@dataclass(frozen=True)
class Declared:
    """A metric as results declare it.

    Args:
        name: its key under `geometry`.
        title: head of its column.
        better: "higher", "lower" or "".
        unit: "", "°" or "%".
        of_centers: measured on the class centers, else on clean and on attacked images.
    """

    name: str
    title: str
    better: str
    unit: str
    of_centers: bool

    @property
    def head(self) -> tuple[str, str, str]:
        """Head, what it is measured on, and which direction is better, in words."""
        title = f"{self.title} {self.unit}".strip()
        better = f"{self.title}: {self.better} is better" if self.better else ""
        return title, "of centers" if self.of_centers else "clean | attacked", better

    def text(self, geometry: dict[str, Any]) -> str:
        """The number of a result, or its two numbers, as a table shows them."""
        if self.of_centers:
            return self._shown(geometry.get(self.name))
        return " | ".join(self._shown(geometry.get(side, {}).get(self.name)) for side in ("clean", "adversarial"))

    def _shown(self, value: float | None) -> str:
        if value is None or not self.unit:
            return number(value)
        return f"{value:.2f}" if self.unit == "°" else f"{100 * value:.1f}"


def declared(results: Iterable[dict[str, Any]]) -> list[Declared]:
    """The metrics that any of these geometries declares, each once, in the order in which they first occur."""
    found: dict[str, Declared] = {}
    for geometry in results:
        for name, said in geometry.get("declared", {}).items():
            words = (said.get("title", name), said.get("better", ""), said.get("unit", ""))
            found.setdefault(name, Declared(name, *words, of_centers=name in geometry))
    return list(found.values())
