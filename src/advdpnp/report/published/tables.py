"""Every number of Tables 1 to 8 of Adv-DPNP (arXiv 2504.03782, version 2): accuracies in percent, angles in degrees."""

from __future__ import annotations

from typing import Literal, NamedTuple

from advdpnp.report.published.protocols import (
    AUTOATTACK,
    CW,
    ENSEMBLE,
    FGSM,
    L1,
    L2,
    PGD20,
    SHARED_PGD20,
    SHARED_PGD100,
    Protocol,
    linf_pgd,
)

Kind = Literal["clean", "attack", "loss", "average", "ensemble", "geometry", "corruptions"]


class PrintedColumn(NamedTuple):
    """What a column of the paper holds.

    Args:
        title: its head.
        kind: "clean" or "attack": accuracy; "loss": mean cross-entropy under the attack; "average": of the accuracies
            on clean images and under AutoAttack; "ensemble": right under all of its attacks; "geometry": of the
            embedding; "corruptions": mean accuracy over all corruptions and severities.
        protocols: the attacks.
        metric: of geometry: "fdr", "afs", "scr", "mean_separation_degrees" or "min_separation_degrees".
        attacked: whether the metric is that of attacked images.
        lower_is_better: as the arrows of Table 4 say.
    """

    title: str
    kind: Kind
    protocols: tuple[Protocol, ...] = ()
    metric: str = ""
    attacked: bool = False
    lower_is_better: bool = False


class Place(NamedTuple):
    """Whose numbers a row holds."""

    data: str
    backbone: str
    defense: str


class PaperTable(NamedTuple):
    """One table: what it shows, its columns, and a number for each of them in every row."""

    number: int
    title: str
    columns: tuple[PrintedColumn, ...]
    rows: dict[Place, tuple[float, ...]]

    def ranks(self, place: Place, column: int) -> int:
        """1 for the best of the column among the rows of the same data and backbone, 2 for the second, and so on.

        The undefended network is not ranked where the paper leaves it out: in accuracies.
        """
        lower = self.columns[column].lower_is_better or self.columns[column].kind == "loss"
        geometry = self.columns[column].kind == "geometry"
        rivals = [
            row[column]
            for other, row in self.rows.items()
            if other[:2] == place[:2] and (geometry or other.defense != "st")
        ]
        own = self.rows[place][column]
        return 1 + len({value for value in rivals if (value < own if lower else value > own)})


def _rows(data: str, backbone: str, numbers: dict[str, tuple[float, ...]]) -> dict[Place, tuple[float, ...]]:
    return {Place(data, backbone, defense): row for defense, row in numbers.items()}


CLEAN = PrintedColumn("Clean", "clean")
AVERAGE = PrintedColumn("Avg", "average", (AUTOATTACK,))


def _attacked(title: str, protocol: Protocol) -> PrintedColumn:
    return PrintedColumn(title, "attack", (protocol,))


TABLE_1 = PaperTable(
    1,
    "accuracy under AutoAttack and PGD in three norms, beside the baselines",
    (CLEAN, _attacked("AA", AUTOATTACK), AVERAGE, _attacked("PGD l1", L1), _attacked("PGD l2", L2),
     _attacked("PGD linf", PGD20)),
    _rows("cifar10", "resnet18", {
        "st": (94.39, 0.00, 47.20, 40.77, 0.04, 0.00),
        "at": (83.78, 48.20, 65.99, 51.04, 63.72, 52.75),
        "at-he": (80.28, 47.29, 63.79, 48.44, 60.67, 50.77),
        "trades": (81.38, 49.00, 65.19, 49.72, 62.37, 53.18),
        "mart": (79.60, 48.18, 63.89, 52.39, 61.41, 51.94),
        "adv-dpnp": (84.63, 49.18, 66.91, 55.11, 64.13, 53.68),
    })
    | _rows("cifar100", "resnet18", {
        "st": (76.24, 0.00, 38.12, 25.90, 1.42, 0.03),
        "at": (57.91, 24.98, 41.45, 38.03, 38.95, 29.17),
        "at-he": (57.11, 25.73, 41.42, 36.71, 37.99, 29.35),
        "trades": (57.99, 25.06, 41.53, 38.43, 38.77, 30.17),
        "mart": (53.64, 25.61, 39.63, 34.38, 37.66, 29.46),
        "adv-dpnp": (59.77, 25.39, 42.58, 39.26, 40.02, 30.80),
    }),
)  # fmt: skip

TABLE_2 = PaperTable(
    2,
    "accuracy under six attacks, beside recent defenses",
    (CLEAN, _attacked("AA", AUTOATTACK), AVERAGE, _attacked("FGSM", FGSM), _attacked("PGD-20", SHARED_PGD20),
     _attacked("PGD-100", SHARED_PGD100), _attacked("C&W", CW), PrintedColumn("Ensemble", "ensemble", ENSEMBLE)),
    _rows("cifar10", "resnet18", {
        "oc": (81.80, 46.46, 64.13, 57.14, 51.40, 49.99, 50.28, 49.59),
        "pcl": (83.70, 40.85, 62.28, 51.23, 44.63, 43.21, 43.69, 41.90),
        "hat": (84.28, 47.51, 65.90, 57.85, 52.01, 50.80, 50.21, 48.68),
        "fsr": (81.83, 47.33, 64.58, 57.03, 52.52, 51.28, 49.93, 48.38),
        "dio": (83.18, 48.21, 65.70, 58.06, 52.59, 51.25, 50.90, 49.25),
        "ikl": (77.90, 48.88, 63.39, 57.07, 54.14, 53.65, 49.93, 49.61),
        "adv-dpnp": (84.63, 49.18, 66.91, 58.12, 53.68, 52.61, 50.97, 50.14),
    })
    | _rows("cifar100", "resnet18", {
        "oc": (59.24, 24.49, 41.87, 33.02, 27.36, 26.10, 26.43, 25.81),
        "pcl": (59.08, 20.61, 39.85, 30.64, 26.75, 26.07, 23.77, 22.18),
        "hat": (59.60, 22.79, 41.20, 29.61, 26.35, 25.44, 25.05, 23.81),
        "fsr": (58.04, 23.38, 40.71, 30.64, 27.24, 26.40, 25.72, 24.19),
        "dio": (54.39, 24.50, 39.45, 31.83, 29.35, 28.79, 26.63, 25.68),
        "ikl": (56.62, 25.43, 41.03, 32.84, 31.17, 30.70, 26.42, 26.29),
        "adv-dpnp": (59.77, 25.39, 42.58, 33.19, 30.80, 30.15, 27.29, 26.58),
    })
    | _rows("svhn", "resnet18", {
        "fsr": (92.96, 45.22, 69.09, 65.13, 52.82, 49.43, 48.97, 47.05),
        "dio": (93.52, 45.44, 69.48, 66.17, 52.97, 49.48, 49.72, 47.57),
        "ikl": (85.05, 47.53, 66.29, 61.46, 55.50, 54.46, 50.73, 50.36),
        "adv-dpnp": (93.06, 48.04, 70.55, 68.43, 57.45, 54.85, 51.54, 50.53),
    })
    | _rows("cifar10", "wrn-34-10", {
        "fsr": (86.39, 51.14, 68.77, 61.69, 55.76, 54.28, 54.19, 52.37),
        "dio": (85.28, 51.95, 68.62, 60.68, 54.75, 53.41, 54.79, 52.70),
        "ikl": (82.23, 53.10, 67.67, 61.50, 57.73, 57.26, 54.36, 53.87),
        "adv-dpnp": (87.47, 52.77, 70.12, 62.14, 57.26, 55.07, 54.96, 53.74),
    }),
)  # fmt: skip


def _radius(eps: int) -> tuple[PrintedColumn, PrintedColumn]:
    # Iterations and step are not printed: those of the text, and those of Figure 4.
    pgd = linf_pgd(20, "1/255", f"{2.5 * eps / 20:g}/255", eps=f"{eps}/255")
    return (
        _attacked(f"PGD, {eps}/255", pgd),
        _attacked(f"AA, {eps}/255", AUTOATTACK._replace(eps=f"{eps}/255")),
    )


TABLE_3 = PaperTable(
    3,
    "accuracy under PGD and AutoAttack at smaller radii",
    (*_radius(2), *_radius(4), *_radius(6)),
    _rows("cifar10", "resnet18", {
        "at": (77.90, 76.76, 70.67, 68.26, 62.09, 58.66),
        "trades": (75.58, 74.84, 68.80, 67.17, 61.49, 58.28),
        "at-he": (74.10, 73.48, 66.94, 65.63, 59.30, 56.73),
        "mart": (70.48, 69.88, 64.78, 63.48, 58.19, 56.39),
        "fsr": (75.70, 74.40, 68.51, 65.82, 60.62, 56.90),
        "dio": (77.28, 76.37, 70.04, 68.11, 61.78, 58.72),
        "ikl": (72.74, 71.74, 66.83, 64.60, 60.69, 57.18),
        "adv-dpnp": (78.07, 77.25, 70.71, 68.76, 62.13, 58.85),
    }),
)  # fmt: skip


def _metric(title: str, metric: str, lower_is_better: bool = False) -> tuple[PrintedColumn, PrintedColumn]:
    clean = PrintedColumn(f"{title} cln", "geometry", metric=metric, lower_is_better=lower_is_better)
    return clean, clean._replace(title=f"{title} adv", protocols=(PGD20,), attacked=True)


TABLE_4 = PaperTable(
    4,
    "how the embedding separates the classes",
    (*_metric("FDR", "fdr", True), *_metric("AFS", "afs", True), *_metric("SCR", "scr"),
     PrintedColumn("MeanSep", "geometry", metric="mean_separation_degrees"),
     PrintedColumn("MinSep", "geometry", metric="min_separation_degrees")),
    _rows("cifar10", "resnet18", {
        "st": (0.029, 0.597, 0.200, 2.850, 0.577, 0.252, 82.24, 75.52),
        "at": (0.082, 0.161, 0.351, 0.584, 0.599, 0.613, 73.85, 64.92),
        "at-he": (0.139, 0.271, 0.782, 1.608, 0.332, 1.103, 83.42, 73.21),
        "trades": (0.156, 0.254, 0.968, 1.560, 0.796, 0.777, 80.31, 74.05),
        "mart": (0.099, 0.189, 0.390, 0.599, 0.654, 0.713, 70.65, 58.49),
        "fsr": (0.128, 0.247, 0.602, 1.094, 0.442, 0.480, 76.24, 68.20),
        "ikl": (0.140, 0.245, 0.798, 1.336, 0.948, 0.957, 77.34, 70.93),
        "adv-dpnp": (0.059, 0.084, 0.292, 0.435, 1.681, 1.615, 95.32, 94.51),
    })
    | _rows("cifar100", "resnet18", {
        "st": (0.011, 0.114, 0.389, 1.479, 0.190, 0.066, 65.95, 44.96),
        "at": (0.023, 0.041, 1.336, 2.194, 0.258, 0.257, 69.44, 53.02),
        "at-he": (0.023, 0.043, 1.034, 1.705, 1.114, 1.015, 73.39, 60.02),
        "trades": (0.032, 0.049, 1.815, 2.779, 0.267, 0.263, 73.85, 59.52),
        "mart": (0.024, 0.038, 0.797, 1.084, 0.240, 0.243, 67.77, 50.49),
        "fsr": (0.026, 0.042, 0.769, 1.091, 0.153, 0.154, 70.01, 54.72),
        "ikl": (0.024, 0.040, 1.279, 2.036, 0.313, 0.309, 75.65, 63.36),
        "adv-dpnp": (0.019, 0.029, 0.572, 0.765, 1.501, 1.461, 89.90, 89.52),
    }),
)  # fmt: skip

TABLE_5 = PaperTable(
    5,
    "mean accuracy on CIFAR-10-C",
    (PrintedColumn("Avg Acc", "corruptions"),),
    _rows("cifar10", "resnet18", {
        "at": (76.16,), "at-he": (73.20,), "trades": (73.84,), "mart": (69.04,), "pcl": (75.54,), "oc": (74.09,),
        "hat": (75.92,), "fsr": (74.06,), "dio": (75.64,), "ikl": (69.40,), "adv-dpnp": (76.73,),
    }),
)  # fmt: skip

_ITERATIONS = (20, 40, 100, 250, 500)
_ACCURACY_AND_LOSS: tuple[tuple[str, Kind], ...] = (("Acc", "attack"), ("Loss", "loss"))

TABLE_6 = PaperTable(
    6,
    "Adv-DPNP under PGD of more iterations: accuracy, and mean cross-entropy",
    tuple(
        PrintedColumn(f"{steps} {word}", kind, (linf_pgd(steps, "1/255"),))
        for steps in _ITERATIONS
        for word, kind in _ACCURACY_AND_LOSS
    ),
    _rows("cifar10", "resnet18", {
        "adv-dpnp": (53.33, 1.2380, 52.64, 1.2543, 52.53, 1.2571, 52.48, 1.2575, 52.45, 1.2577),
    })
    | _rows("cifar100", "resnet18", {
        "adv-dpnp": (30.80, 2.9387, 30.56, 2.9595, 30.37, 2.9634, 30.25, 2.9641, 30.24, 2.9643),
    }),
)  # fmt: skip

_STARTS = (1, 5, 10, 20)

TABLE_7 = PaperTable(
    7,
    "Adv-DPNP under PGD with more random starts",
    tuple(_attacked(f"{starts} starts", linf_pgd(40, "0.5/255", restarts=starts)) for starts in _STARTS),
    _rows("cifar10", "resnet18", {"adv-dpnp": (53.25, 52.98, 52.86, 52.79)})
    | _rows("cifar100", "resnet18", {"adv-dpnp": (30.76, 30.45, 30.38, 30.31)}),
)

TABLE_8 = PaperTable(
    8,
    "Adv-DPNP under PGD on the cross-entropy, and on its own loss",
    (_attacked("CE", PGD20), _attacked("Adv-DPNP", PGD20._replace(name="adaptive-pgd"))),
    _rows("cifar10", "resnet18", {"adv-dpnp": (53.68, 53.39)})
    | _rows("cifar100", "resnet18", {"adv-dpnp": (30.80, 30.74)}),
)

TABLES = {table.number: table for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8)}
