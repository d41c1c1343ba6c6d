"""What Adv-DPNP (arXiv 2504.03782, version 2) prints: its numbers, in percent, and the protocol that they hold for."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose
from typing import TYPE_CHECKING, Any, NamedTuple

from advdpnp.indices import of_the_first, short_indices
from advdpnp.ranges import parse_eps
from advdpnp.results import AttackKey

if TYPE_CHECKING:
    from advdpnp.report.read import Result

# Test images of the data sets that the paper reports; a run on any other is not the paper's protocol.
PAPER_TEST_IMAGES = {"cifar10": 10_000, "cifar100": 10_000, "mnist": 10_000, "svhn": 26_032}
# Of CIFAR-10-C, one corruption at one severity; its own order is severity by severity.
CORRUPTED, SEVERITIES = "cifar10-c/", 5
# Section 4.1, for every model: field of the recipe -> its name in words, its value.
PAPER_RECIPE = {
    "epochs": ("epochs", 110),
    "lr": ("learning rate", 0.1),
    "momentum": ("momentum", 0.9),
    "weight_decay": ("weight decay", 5e-4),
    "batch_size": ("images per batch", 128),
}
# Radius, step size and iterations of the PGD of training: section 4.1; of MNIST the caption of Figure 2.
PAPER_TRAINING_ATTACK = {
    "cifar10": ("8/255", "2/255", 10),
    "cifar100": ("8/255", "2/255", 10),
    "svhn": ("8/255", "1/255", 10),
    "mnist": ("0.3", "0.01", 40),
}
# Methods that train without an attack.
_WITHOUT_ATTACK = ("st", "dpnp")


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

# Table 1, ResNet-18: clean, AutoAttack, PGD in l1, l2, linf.
_TABLE_1: dict[str, dict[str, tuple[float, ...]]] = {
    "cifar10": {
        "st": (94.39, 0.00, 40.77, 0.04, 0.00),
        "at": (83.78, 48.20, 51.04, 63.72, 52.75),
        "at-he": (80.28, 47.29, 48.44, 60.67, 50.77),
        "trades": (81.38, 49.00, 49.72, 62.37, 53.18),
        "mart": (79.60, 48.18, 52.39, 61.41, 51.94),
        "adv-dpnp": (84.63, 49.18, 55.11, 64.13, 53.68),
    },
    "cifar100": {
        "st": (76.24, 0.00, 25.90, 1.42, 0.03),
        "at": (57.91, 24.98, 38.03, 38.95, 29.17),
        "at-he": (57.11, 25.73, 36.71, 37.99, 29.35),
        "trades": (57.99, 25.06, 38.43, 38.77, 30.17),
        "mart": (53.64, 25.61, 34.38, 37.66, 29.46),
        "adv-dpnp": (59.77, 25.39, 39.26, 40.02, 30.80),
    },
}
_TABLE_1_ATTACKS = (_AUTOATTACK, _L1, _L2, _PGD20)

# Table 2: clean, AutoAttack, FGSM, PGD-20, PGD-100, C&W, Ensemble (right under the last four).
_TABLE_2: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {
    ("cifar10", "resnet18"): {
        "oc": (81.80, 46.46, 57.14, 51.40, 49.99, 50.28, 49.59),
        "pcl": (83.70, 40.85, 51.23, 44.63, 43.21, 43.69, 41.90),
        "hat": (84.28, 47.51, 57.85, 52.01, 50.80, 50.21, 48.68),
        "fsr": (81.83, 47.33, 57.03, 52.52, 51.28, 49.93, 48.38),
        "dio": (83.18, 48.21, 58.06, 52.59, 51.25, 50.90, 49.25),
        "ikl": (77.90, 48.88, 57.07, 54.14, 53.65, 49.93, 49.61),
        "adv-dpnp": (84.63, 49.18, 58.12, 53.68, 52.61, 50.97, 50.14),
    },
    ("cifar100", "resnet18"): {
        "oc": (59.24, 24.49, 33.02, 27.36, 26.10, 26.43, 25.81),
        "pcl": (59.08, 20.61, 30.64, 26.75, 26.07, 23.77, 22.18),
        "hat": (59.60, 22.79, 29.61, 26.35, 25.44, 25.05, 23.81),
        "fsr": (58.04, 23.38, 30.64, 27.24, 26.40, 25.72, 24.19),
        "dio": (54.39, 24.50, 31.83, 29.35, 28.79, 26.63, 25.68),
        "ikl": (56.62, 25.43, 32.84, 31.17, 30.70, 26.42, 26.29),
        "adv-dpnp": (59.77, 25.39, 33.19, 30.80, 30.15, 27.29, 26.58),
    },
    ("svhn", "resnet18"): {
        "fsr": (92.96, 45.22, 65.13, 52.82, 49.43, 48.97, 47.05),
        "dio": (93.52, 45.44, 66.17, 52.97, 49.48, 49.72, 47.57),
        "ikl": (85.05, 47.53, 61.46, 55.50, 54.46, 50.73, 50.36),
        "adv-dpnp": (93.06, 48.04, 68.43, 57.45, 54.85, 51.54, 50.53),
    },
    ("cifar10", "wrn-34-10"): {
        "fsr": (86.39, 51.14, 61.69, 55.76, 54.28, 54.19, 52.37),
        "dio": (85.28, 51.95, 60.68, 54.75, 53.41, 54.79, 52.70),
        "ikl": (82.23, 53.10, 61.50, 57.73, 57.26, 54.36, 53.87),
        "adv-dpnp": (87.47, 52.77, 62.14, 57.26, 55.07, 54.96, 53.74),
    },
}
_ENSEMBLE = (_FGSM, _PGD20, _PGD100, _CW)
_TABLE_2_ATTACKS = (_AUTOATTACK, *_ENSEMBLE)

# Table 4, ResNet-18: FDR (its magnitude fits the trace ratio over the classes), AFS and SCR, each clean and attacked;
# MeanSep and MinSep in degrees.
_TABLE_4: dict[str, dict[str, tuple[float, ...]]] = {
    "cifar10": {
        "st": (0.029, 0.597, 0.200, 2.850, 0.577, 0.252, 82.24, 75.52),
        "at": (0.082, 0.161, 0.351, 0.584, 0.599, 0.613, 73.85, 64.92),
        "at-he": (0.139, 0.271, 0.782, 1.608, 0.332, 1.103, 83.42, 73.21),
        "trades": (0.156, 0.254, 0.968, 1.560, 0.796, 0.777, 80.31, 74.05),
        "mart": (0.099, 0.189, 0.390, 0.599, 0.654, 0.713, 70.65, 58.49),
        "fsr": (0.128, 0.247, 0.602, 1.094, 0.442, 0.480, 76.24, 68.20),
        "ikl": (0.140, 0.245, 0.798, 1.336, 0.948, 0.957, 77.34, 70.93),
        "adv-dpnp": (0.059, 0.084, 0.292, 0.435, 1.681, 1.615, 95.32, 94.51),
    },
    "cifar100": {
        "st": (0.011, 0.114, 0.389, 1.479, 0.190, 0.066, 65.95, 44.96),
        "at": (0.023, 0.041, 1.336, 2.194, 0.258, 0.257, 69.44, 53.02),
        "at-he": (0.023, 0.043, 1.034, 1.705, 1.114, 1.015, 73.39, 60.02),
        "trades": (0.032, 0.049, 1.815, 2.779, 0.267, 0.263, 73.85, 59.52),
        "mart": (0.024, 0.038, 0.797, 1.084, 0.240, 0.243, 67.77, 50.49),
        "fsr": (0.026, 0.042, 0.769, 1.091, 0.153, 0.154, 70.01, 54.72),
        "ikl": (0.024, 0.040, 1.279, 2.036, 0.313, 0.309, 75.65, 63.36),
        "adv-dpnp": (0.019, 0.029, 0.572, 0.765, 1.501, 1.461, 89.90, 89.52),
    },
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
        return self.ensemble if protocols == set(_ENSEMBLE) else None


def accuracies(data: str, backbone: str, defense: str) -> Published | None:
    """What Tables 1 and 2 of the paper print for a method, or None where they print nothing."""
    baseline = _TABLE_1.get(data, {}).get(defense) if backbone == "resnet18" else None
    compared = _TABLE_2.get((data, backbone), {}).get(defense)
    if baseline is None and compared is None:
        return None
    attacks: dict[Protocol, float] = {}
    if baseline is not None:
        attacks |= dict(zip(_TABLE_1_ATTACKS, baseline[1:], strict=True))
    if compared is not None:
        attacks |= dict(zip(_TABLE_2_ATTACKS, compared[1:-1], strict=True))
    clean, ensemble = (baseline or compared or ())[0], compared[-1] if compared is not None else None
    return Published(clean, attacks, ensemble)


def geometry(data: str, backbone: str, defense: str) -> dict[str, tuple[float, float]] | None:
    """Clean and attacked FDR, AFS and SCR, and (MeanSep, MinSep) as "separation"; None where Table 4 has no row."""
    row = _TABLE_4.get(data, {}).get(defense) if backbone == "resnet18" else None
    if row is None:
        return None
    names = ("fdr", "afs", "scr", "separation")
    return {name: (row[2 * place], row[2 * place + 1]) for place, name in enumerate(names)}


def paper_test_images(data: str) -> int | None:
    """How many test images the paper uses of a data set; None for a data set that it does not report."""
    if data.startswith(CORRUPTED):
        one = PAPER_TEST_IMAGES["cifar10"]
        return one if data.count("/") == 2 else one * SEVERITIES
    return PAPER_TEST_IMAGES.get(data)


def departures(result: Result) -> list[str]:
    """What sets a result apart from the protocol of the paper, in words; empty if nothing does."""
    run, suite, found = result.run, result.suite, []
    images = paper_test_images(suite.data)
    if images is None:
        found.append(f"{suite.data} is not a data set of the paper")
    elif suite.n != images or not of_the_first(suite.indices, suite.n):
        chosen = "" if of_the_first(suite.indices, suite.n) else f" ({short_indices(suite.indices)})"
        found.append(f"{suite.n:,} of {images:,} test images{chosen}")
    if suite.search_precision != "fp32":
        found.append(f"attacks searched in {suite.search_precision}")
    found += suite.notes
    if run.foreign:
        return [*found, "a network from elsewhere, whose training is not known here", *suite.warnings]
    found += suite.warnings
    recipe = run.config["recipe"]
    if run.recipe != "paper":
        held_out = recipe.get("holdout", 0)
        found.append(f"recipe “{run.recipe}”" + (f": {held_out:,} training images held out" if held_out else ""))
    if run.data in PAPER_TEST_IMAGES:
        found += _other_settings(recipe)
    if run.data in PAPER_TRAINING_ATTACK and run.defense not in _WITHOUT_ATTACK:
        found += _other_attack(recipe["attack"], *PAPER_TRAINING_ATTACK[run.data])
    if recipe.get("train_images"):
        found.append(f"trained on {recipe['train_images']:,} images")
    if suite.checkpoint != "last":
        found.append(f"{suite.checkpoint} checkpoint (epoch {suite.epoch})")
    return found


def _other_settings(recipe: dict[str, Any]) -> Iterator[str]:
    """Where a recipe is not that of section 4.1, in words; what an old run did not record is taken as equal."""
    for field, (words, printed) in PAPER_RECIPE.items():
        value = recipe.get(field, printed)
        if value != printed:
            yield f"{value} {words}, not {printed}" if isinstance(printed, int) else f"{words} {value}, not {printed}"
    augmentation = recipe.get("augmentation", {"padding": 4, "flip": True})
    lacking = [name for name, field in (("crop", "padding"), ("flip", "flip")) if not augmentation[field]]
    if lacking:
        yield f"trained without random {' and '.join(lacking)}"
    if (schedule := recipe.get("schedule", "steps")) != "steps":
        yield f"learning rate by the schedule {schedule}, not in two steps"
    if (kind := recipe.get("averaging", {}).get("kind", "none")) != "none":
        yield f"weights averaged ({kind.upper()})"
    if gamma := recipe.get("weight_perturbation", {}).get("gamma", 0.0):
        yield f"adversarial weight perturbation, γ = {gamma:g}"
    if smoothing := recipe.get("label_smoothing", 0.0):
        yield f"label smoothing {smoothing:g}"
    if recipe.get("nesterov", False):
        yield "Nesterov momentum"
    if (precision := recipe.get("precision", "fp32")) != "fp32":
        yield f"trained in {precision}"


def _other_attack(attack: dict[str, Any], eps: str, step_size: str, steps: int) -> Iterator[str]:
    """Where the attack of training is not the paper's, in words; of its start the paper says nothing."""
    if (norm := attack.get("norm", "linf")) != "linf":
        yield f"trained against {norm}, not linf"
    for name, words, printed in (("eps", "radius", eps), ("step_size", "step", step_size)):
        made = attack.get(name, printed)
        value = parse_eps(made) if isinstance(made, str) else float(made)
        if not isclose(value, parse_eps(printed), rel_tol=1e-6):
            yield f"trained with an attack of {words} {value:.4g}, not {printed}"
    if (made := attack.get("steps", steps)) != steps:
        yield f"trained with an attack of {made} iterations, not {steps}"
    if ramp := attack.get("ramp", 0.0):
        yield f"radius of training grows over {ramp:.0%} of the epochs"
    if spread := attack.get("spread", 0.0):
        yield f"radius of training drawn for each batch, from {1 - spread:.0%} to 100%"
