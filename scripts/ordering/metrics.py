"""What the paper's tables and stored runs both have of a method."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from advdpnp.report.paper_values import Value, value_of
from advdpnp.report.published.departures import WITHOUT_ATTACK
from advdpnp.report.published.tables import TABLES, Place, PrintedColumn
from advdpnp.report.read import RunResults

# Whose rows of the paper are compared: those of its usual network.
BACKBONE = "resnet18"


@dataclass(frozen=True)
class Metric:
    """A number of each method.

    Args:
        title: what it is called in the page.
        suite: of the stored results that it is from.
        columns: of the paper, each by its table and head. Where two have a method, they print the same number.
    """

    title: str
    suite: str
    columns: tuple[tuple[int, str], ...]

    @property
    def column(self) -> PrintedColumn:
        """The first of the columns, which says how it is measured."""
        number, head = self.columns[0]
        return next(column for column in TABLES[number].columns if column.title == head)

    @property
    def is_geometry(self) -> bool:
        return self.column.kind == "geometry"

    def printed(self, data: str, defense: str) -> float | None:
        """What the paper prints of a method; None where it prints nothing."""
        return next(self._printed(Place(data, BACKBONE, defense)), None)

    def _printed(self, place: Place) -> Iterator[float]:
        for number, head in self.columns:
            table = TABLES[number]
            heads = [column.title for column in table.columns]
            if place in table.rows:
                yield table.rows[place][heads.index(head)]

    def value(self, run: RunResults, suite: str = "") -> Value | None:
        """What a run has of it; None where it was not measured.

        Args:
            run: of any method.
            suite: in place of the metric's own.
        """
        name = suite or self.suite
        # A result whose searches were made in another precision is named after that too.
        suites = [result for result in run.suites if result.name in (name, f"{name}-{result.search_precision}")]
        return value_of(self.column, replace(run, suites=suites, curves=[]))

    def competes(self, defense: str) -> bool:
        """Whether a method is compared with others: in accuracy an undefended network is not, as in the paper."""
        return self.is_geometry or defense not in WITHOUT_ATTACK


CLEAN = Metric("Clean", "clean", ((1, "Clean"), (2, "Clean")))
PGD20 = Metric("PGD-20, text", "text", ((1, "PGD linf"), (2, "PGD-20")))
ACCURACIES = (
    CLEAN,
    Metric("FGSM", "text", ((2, "FGSM"),)),
    PGD20,
    Metric("PGD-20, code", "fsr", ((2, "PGD-20"),)),
    Metric("PGD-100", "fsr", ((2, "PGD-100"),)),
    Metric("C&W", "fsr", ((2, "C&W"),)),
    Metric("Ensemble", "fsr", ((2, "Ensemble"),)),
    Metric("AutoAttack", "autoattack", ((1, "AA"), (2, "AA"))),
)
GEOMETRY = tuple(
    Metric(head, "text", ((4, head),))
    for head in ("FDR cln", "FDR adv", "AFS cln", "AFS adv", "SCR cln", "SCR adv", "MeanSep", "MinSep")
)
METRICS = (*ACCURACIES, *GEOMETRY)
