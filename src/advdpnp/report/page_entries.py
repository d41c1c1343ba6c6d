"""Which runs a row or a figure is of, and where the page says how each was made."""

from __future__ import annotations

import re
from collections.abc import Sequence

from advdpnp.report.read import RunResults
from advdpnp.report.tables import Row, Table

_SEED = re.compile(r"seed (\d+)\b")


class Entries:
    """The runs of a page, by their positions.

    Args:
        runs: in the order of the page.
    """

    def __init__(self, runs: Sequence[RunResults]) -> None:
        self._runs = list(runs)
        self._positions = {run.folder: position for position, run in enumerate(runs)}
        self.anchors: list[str] = []
        for run in runs:
            self.anchors.append(self._unused(_anchor(run)))

    def _unused(self, anchor: str) -> str:
        # Tags that differ in signs alone give one anchor.
        number = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", taken) is not None for taken in self.anchors)
        return f"{anchor}-{number + 1}" if number else anchor

    def anchor(self, run: RunResults) -> str:
        """The id of a run's entry under "How each number was made"."""
        return self.anchors[self._positions[run.folder]]

    def of_runs(self, runs: Sequence[RunResults]) -> str:
        """Positions of these runs, as an attribute of the page has them: "0 3"."""
        return " ".join(str(self._positions[run.folder]) for run in runs)

    def of_row(self, row: Row, table: Table) -> str:
        """The runs that a row is of, or that a published row stands beside; "" where it cannot be told."""
        place = table.title.partition(": ")[0]
        seed = _SEED.match(row.source) if row.kind == "run" else None
        printed = row.kind == "published"
        found = [run for run in self._runs if (run.defense == row.defense if printed else run.method == row.method)]
        found = [run for run in found if run.foreign or _names(place, run.place)]
        return self.of_runs([run for run in found if seed is None or run.seed == int(seed[1])])

    def of_picture(self, title: str) -> str:
        """The run that a figure shows alone; "" where it shows several."""
        return self.of_runs([run for run in self._runs if title.startswith(f"{run.name} ({run.place})")])


def _anchor(run: RunResults) -> str:
    variant = f"{run.defense}+{run.tag}" if run.tag else run.defense
    words = re.sub(r"[^a-z0-9]+", "-", f"{run.data} {run.backbone} {variant} seed {run.seed}".lower())
    return f"run-{words.strip('-')}"


def _names(title: str, place: str) -> bool:
    """Whether a heading such as "Table 2, cifar10/resnet18" names this place, and not a longer one."""
    return re.search(rf"(?<![^ ,]){re.escape(place)}(?![^ ,])", title) is not None
