"""Numbers that Adv-DPNP (arXiv 2504.03782, version 2) prints for ResNet-18, to stand beside measured ones. Percent."""

from __future__ import annotations

from typing import NamedTuple

from advdpnp.report.read import AttackKey


class Protocol(NamedTuple):
    """What the paper says of an attack: name, norm, radius, steps (None: not a number of steps)."""

    name: str
    norm: str
    eps: str
    steps: int | None


_FGSM = Protocol("fgsm", "linf", "8/255", 1)
_PGD20 = Protocol("pgd", "linf", "8/255", 20)
_PGD100 = Protocol("pgd", "linf", "8/255", 100)
_CW = Protocol("cw", "linf", "8/255", 30)
_L1 = Protocol("pgd", "l1", "2000/255", 100)
_L2 = Protocol("pgd", "l2", "128/255", 20)
_AUTOATTACK = Protocol("autoattack", "linf", "8/255", None)

# Table 1: clean, AutoAttack, PGD in l1, l2, linf. Methods with three numbers: clean, AutoAttack, linf.
_TABLE_1: dict[str, dict[str, tuple[float, ...]]] = {
    "cifar10": {
        "st": (94.39, 0.00, 40.77, 0.04, 0.00),
        "at": (83.78, 48.20, 51.04, 63.72, 52.75),
        "at-he": (80.28, 47.29, 48.44, 60.67, 50.77),
        "trades": (81.38, 49.00, 49.72, 62.37, 53.18),
        "mart": (79.60, 48.18, 52.39, 61.41, 51.94),
        "oc": (81.80, 46.46, 51.40),
        "pcl": (83.70, 40.85, 44.63),
        "hat": (84.28, 47.51, 52.01),
        "fsr": (81.83, 47.33, 52.52),
        "dio": (83.18, 48.21, 52.59),
        "ikl": (77.90, 48.88, 54.14),
        "adv-dpnp": (84.63, 49.18, 55.11, 64.13, 53.68),
    },
    "cifar100": {
        "st": (76.24, 0.00, 25.90, 1.42, 0.03),
        "at": (57.91, 24.98, 38.03, 38.95, 29.17),
        "at-he": (57.11, 25.73, 36.71, 37.99, 29.35),
        "trades": (57.99, 25.06, 38.43, 38.77, 30.17),
        "mart": (53.64, 25.61, 34.38, 37.66, 29.46),
        "oc": (59.24, 24.49, 27.36),
        "pcl": (59.08, 20.61, 26.75),
        "hat": (59.60, 22.79, 26.35),
        "fsr": (58.04, 23.38, 27.24),
        "dio": (54.39, 24.50, 29.35),
        "ikl": (56.62, 25.43, 31.17),
        "adv-dpnp": (59.77, 25.39, 39.26, 40.02, 30.80),
    },
}

# Table 2, CIFAR-10: FGSM, PGD-20, PGD-100, C&W, Ensemble (right under all four).
_TABLE_2 = {
    "oc": (57.14, 51.40, 49.99, 50.28, 49.59),
    "pcl": (51.23, 44.63, 43.21, 43.69, 41.90),
    "hat": (57.85, 52.01, 50.80, 50.21, 48.68),
    "fsr": (57.03, 52.52, 51.28, 49.93, 48.38),
    "dio": (58.06, 52.59, 51.25, 50.90, 49.25),
    "ikl": (57.07, 54.14, 53.65, 49.93, 49.61),
    "adv-dpnp": (58.12, 53.68, 52.61, 50.97, 50.14),
}
_TABLE_2_ATTACKS = (_FGSM, _PGD20, _PGD100, _CW)

# Geometry of Adv-DPNP: FDR (its magnitude fits the trace ratio over the classes), AFS, SCR, each clean and attacked;
# MeanSep and MinSep in degrees.
_GEOMETRY = {
    "cifar10": {"fdr": (0.059, 0.084), "afs": (0.292, 0.435), "scr": (1.681, 1.615), "separation": (95.32, 94.51)},
    "cifar100": {"fdr": (0.019, 0.029), "afs": (0.572, 0.765), "scr": (1.501, 1.461), "separation": (89.90, 89.52)},
}


class Published(NamedTuple):
    """Accuracies of one method in the paper, percent."""

    clean: float
    attacks: dict[Protocol, float]
    ensemble: float | None

    def attack(self, key: AttackKey) -> float | None:
        """The number for an attack of this name, norm, radius and number of steps."""
        return self.attacks.get(Protocol(key.name, key.norm, key.eps, key.steps))

    def worst_case(self, keys: list[AttackKey]) -> float | None:
        """The Ensemble of Table 2, if the suite is made of its four attacks."""
        protocols = {Protocol(key.name, key.norm, key.eps, key.steps) for key in keys}
        return self.ensemble if protocols == set(_TABLE_2_ATTACKS) else None


def accuracies(data: str, backbone: str, defense: str) -> Published | None:
    """What the paper prints for a method, or None where it prints nothing."""
    row = _TABLE_1.get(data, {}).get(defense)
    if row is None or backbone != "resnet18":
        return None
    protocols = (_AUTOATTACK, _L1, _L2, _PGD20) if len(row) == 5 else (_AUTOATTACK, _PGD20)
    attacks, ensemble = dict(zip(protocols, row[1:], strict=True)), None
    if data == "cifar10" and defense in _TABLE_2:
        *values, ensemble = _TABLE_2[defense]
        attacks |= dict(zip(_TABLE_2_ATTACKS, values, strict=True))
    return Published(row[0], attacks, ensemble)


def geometry(data: str, backbone: str, defense: str) -> dict[str, tuple[float, float]] | None:
    """Clean and attacked FDR, AFS and SCR, and (MeanSep, MinSep) as "separation"; None where nothing is printed."""
    return _GEOMETRY.get(data) if backbone == "resnet18" and defense == "adv-dpnp" else None
