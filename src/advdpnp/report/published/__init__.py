"""What Adv-DPNP (arXiv 2504.03782, version 2) prints: its numbers, in percent, and the protocol that they hold for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from advdpnp.report.published.departures import departures as departures
from advdpnp.report.published.departures import paper_test_images as paper_test_images
from advdpnp.report.published.departures import training_departures as training_departures
from advdpnp.report.published.protocols import ENSEMBLE
from advdpnp.report.published.tables import TABLE_4, TABLES, PaperTable, Place, PrintedColumn
from advdpnp.results import AttackKey


class Printed(NamedTuple):
    """One number of the paper: where it stands, and its value."""

    table: PaperTable
    column: PrintedColumn
    value: float


class Published:
    """What the paper prints of one method.

    Args:
        numbers: in the order of the tables; where two tables have the same attack, the first one counts.
    """

    def __init__(self, numbers: Sequence[Printed]) -> None:
        self.numbers = tuple(numbers)

    @property
    def clean(self) -> float | None:
        """Accuracy on clean images, percent; None for a method of Table 5 alone."""
        return next((number.value for number in self.numbers if number.column.kind == "clean"), None)

    def attack(self, key: AttackKey) -> float | None:
        """Accuracy under an attack that is the paper's in all that it states, percent."""
        fitting = (
            number.value
            for number in self.numbers
            if number.column.kind == "attack" and number.column.protocols[0].fits(key)
        )
        return next(fitting, None)

    def worst_case(self, keys: Sequence[AttackKey]) -> float | None:
        """The Ensemble of Table 2, if the suite is made of its four attacks."""
        made = len(keys) == len(ENSEMBLE) and all(any(one.fits(key) for key in keys) for one in ENSEMBLE)
        return next((number.value for number in self.numbers if number.column.kind == "ensemble" and made), None)


def accuracies(data: str, backbone: str, defense: str) -> Published | None:
    """What Tables 1 to 8 print of a method's accuracy, or None where they print nothing."""
    place = Place(data, backbone, defense)
    numbers = [
        Printed(table, column, value)
        for table in TABLES.values()
        for column, value in zip(table.columns, table.rows.get(place, ()))
        if column.kind != "geometry"
    ]
    return Published(numbers) if numbers else None


def geometry(data: str, backbone: str, defense: str) -> dict[str, tuple[float, float]] | None:
    """Clean and attacked FDR, AFS and SCR, and (MeanSep, MinSep) as "separation"; None where Table 4 has no row.

    The magnitude of FDR fits the trace ratio over the number of classes, not Eq. 8.
    """
    row = TABLE_4.rows.get(Place(data, backbone, defense))
    if row is None:
        return None
    names = ("fdr", "afs", "scr", "separation")
    return {name: (row[2 * place], row[2 * place + 1]) for place, name in enumerate(names)}
