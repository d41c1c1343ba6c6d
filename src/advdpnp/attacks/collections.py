"""The tables and figures of the Adv-DPNP paper as sequences of suites, each of which is stored under its own name."""

from dataclasses import dataclass

from advdpnp.ranges import NonNegative, check_fields


@dataclass(frozen=True)
class Part:
    """One evaluation.

    Args:
        suite: a suite's name.
        scale: its radius, as a multiple of the data set's usual one.
    """

    suite: str
    scale: NonNegative = 1.0

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Collection:
    """Evaluations that make a table or a figure.

    Args:
        name: as on the command line.
        description: one line.
        parts: in the order in which they run: quick ones first.
    """

    name: str
    description: str
    parts: tuple[Part, ...]


_AUTOATTACK = Part("autoattack")
_SMALL = tuple(Part("autoattack", scale) for scale in (0.25, 0.5, 0.75))

_TABLES = (
    Collection("table1", "clean, PGD in several norms, and AutoAttack", (Part("norms"), _AUTOATTACK)),
    Collection(
        "table2",
        "FGSM, PGD-20, PGD-100, C&W and Ensemble with the settings of FSR's code, PGD-20 with those of the text, and "
        "AutoAttack",
        (Part("fsr"), Part("text"), _AUTOATTACK),
    ),
    Collection("table3", "PGD-20 and AutoAttack at 1/4, 1/2 and 3/4 eps", (Part("small-eps"), *_SMALL)),
    Collection("table4", "geometry of the features, clean and under PGD-20", (Part("text"),)),
    Collection("table5", "mean accuracy over the common corruptions", (Part("corruptions"),)),
    Collection("table6", "PGD of 20 to 500 iterations: accuracy and cross-entropy", (Part("steps"),)),
    Collection("table7", "PGD-40 with 1 to 20 random starts", (Part("restarts"),)),
    Collection("table8", "PGD-20 on the cross-entropy and on the training objective", (Part("objective"),)),
    Collection("figure3", "accuracy under common corruptions, severity by severity", (Part("corruptions"),)),
    Collection("figure4", "PGD-20 and FGSM against the radius", (Part("curve-pgd"), Part("curve-fgsm"))),
)


def _full() -> Collection:
    # AutoAttack takes longest.
    parts = sorted(
        dict.fromkeys(part for table in _TABLES for part in table.parts), key=lambda part: part.suite == "autoattack"
    )
    return Collection("full", "all of these tables and figures, what they share once", tuple(parts))


COLLECTIONS: dict[str, Collection] = {table.name: table for table in (*_TABLES, _full())}
