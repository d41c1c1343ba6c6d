"""Default hyper-parameters of each data set and defense: the papers', and our own for small data."""

from dataclasses import replace
from typing import Any

from advdpnp.data import Augmentation, DataSpec, NamedSpec
from advdpnp.defenses import Defense
from advdpnp.experiments.ablations import ABLATIONS
from advdpnp.experiments.plugins import find_defense
from advdpnp.training.recipe import RECIPE_NAMES, InnerAttack, Recipe

# Adv-DPNP, section 4: the weights differ on CIFAR-100. IKL: the attack of the authors' script for CIFAR-100.
_DEFENSE_FIELDS: dict[tuple[str, str], dict[str, Any]] = {
    ("cifar100", "dpnp"): {"lambda_dpp": 0.3, "lambda_dnp": 3.0},
    ("cifar100", "adv-dpnp"): {"lambda_dpp": 0.3, "lambda_dnp": 3.0, "lambda_dfa": 2.4},
    ("cifar100", "ikl"): {"inner_loss": "sce+wmse"},
}

# (data, recipe), "" standing for every recipe. MNIST: the paper's attack and the rate of LeNets++, which has no
# BatchNorm. Digits: enough for 1,797 images. SVHN: the paper prints one protocol for all data; the field trains SVHN
# at a tenth of that rate, since 0.1 often stalls under attack, and without mirroring digits.
_RECIPE_FIELDS: dict[tuple[str, str], dict[str, Any]] = {
    ("mnist", ""): {"lr": 0.01},
    ("digits", ""): {"epochs": 30},
    ("svhn", "default"): {"lr": 0.01},
    ("svhn", "paper"): {"augmentation": Augmentation(padding=4, mode="reflect", flip=True)},
}
_ATTACK_FIELDS: dict[str, dict[str, Any]] = {
    "mnist": {"steps": 40, "step_size": 0.01},
    "svhn": {"step_size": 1 / 255},
}


def defense_for(data: str, name: str) -> tuple[Defense[Any], str]:
    """The defense `name` with its fields for this data, and the tag of its variant ("" if it is none).

    Raises:
        ValueError: unknown name, the nearest ones are listed; or a defense from elsewhere that is not fit.
    """
    ablation = ABLATIONS.get(name)
    base, fields = (ablation.defense, ablation.fields) if ablation else (name, {})
    defense = find_defense(base)(**{**_DEFENSE_FIELDS.get((data, base), {}), **fields})
    return defense, name.removeprefix(base).lstrip("-")


def recipe_for(name: str, spec: DataSpec, defense: Defense[Any]) -> Recipe:
    """The recipe "paper" or "default" for this data and defense.

    Raises:
        ValueError: unknown name.
    """
    if name not in RECIPE_NAMES:
        raise ValueError(f"unknown recipe {name!r}; expected {' or '.join(RECIPE_NAMES)}")
    attack: dict[str, Any] = {"step_size": spec.eps / 4, **_ATTACK_FIELDS.get(spec.name, {})}
    holdout = spec.holdout if name == "default" else 0
    fields = {
        "augmentation": spec.augmentation,
        "holdout": holdout,
        **({} if isinstance(spec, NamedSpec) else _batch_for(spec.train_size - holdout)),
        **_RECIPE_FIELDS.get((spec.name, ""), {}),
        **_RECIPE_FIELDS.get((spec.name, name), {}),
    }
    return Recipe(name=name, attack=InnerAttack(eps=spec.eps, start=defense.start, **attack), **fields)  # type: ignore[arg-type]


def fine_tuning(recipe: Recipe) -> Recipe:
    """The recipe for a network that is trained already: a tenth of the rate, to keep what it knows; short."""
    return replace(recipe, lr=recipe.lr / 10, epochs=min(recipe.epochs, 20))


def _batch_for(images: int) -> dict[str, Any]:
    """Batch and rate for so many images of one's own: the largest power of two from 32 to 128 with 8 steps an epoch.

    The rate is in proportion to the batch (Goyal et al. 2017), so that it is the paper's at 128.
    """
    batch_size = next((size for size in (128, 64) if images >= 8 * size), 32)
    return {"batch_size": batch_size, "lr": 0.1 * batch_size / 128}
