"""Names and descriptions of all defenses, experiments, attacks, suites, data sets and so on, from the registries.

It imports all that they are of. `catalog_index.json` holds what it says, for `advdpnp.catalog`, which imports nothing.
"""

import json

import torch

from advdpnp.attacks import ATTACKS, COLLECTIONS, suite, suite_names
from advdpnp.attacks.collections import Collection
from advdpnp.catalog import INDEX, Tables, digests
from advdpnp.data import PATTERNS, SPECS
from advdpnp.defenses import DEFENSES
from advdpnp.experiments import ABLATIONS, Ablation
from advdpnp.metrics import CENTER_METRICS, FEATURE_METRICS
from advdpnp.models import BACKBONES, build_backbone
from advdpnp.models.libraries import LIBRARIES
from advdpnp.training import RECIPE_NAMES

# Networks that are not ours, by the form of their names.
_OTHERS = {
    **{
        kind.form: f"{package}'s networks, evaluated or trained further; where {package} is installed"
        for package, kind in LIBRARIES.items()
    },
    "FILE.py:callable": "your own network, as --model",
}
_RECIPES = {
    "paper": "Adv-DPNP's protocol: trained on all training images, evaluated at the last epoch",
    "official": "as paper, with the hyper-parameters of the defense's authors",
    "default": "some training images held out, which choose the best epoch",
}
assert set(_RECIPES) == set(RECIPE_NAMES)


def described() -> Tables:
    """Tables of names and descriptions, by kind."""
    return {
        "defenses": {name: _summary(defense) for name, defense in DEFENSES.items()},
        "experiments": {
            name: f"{ablation.description} ({_settings(ablation)})" for name, ablation in ABLATIONS.items()
        },
        "attacks": {name: _summary(attack) for name, attack in ATTACKS.items()},
        "suites": {name: suite(name, 8 / 255).description for name in suite_names()}
        | {name: _collection_text(table) for name, table in COLLECTIONS.items()},
        "data": {
            name: f"{spec.num_classes} classes, {'x'.join(map(str, spec.image_shape))}" for name, spec in SPECS.items()
        }
        | PATTERNS,
        "models": {name: _network(name) for name in BACKBONES} | _OTHERS,
        "metrics": {
            name: metric.title + (f", {metric.better} is better" if metric.better else "")
            for name, metric in (FEATURE_METRICS | CENTER_METRICS).items()
        },
        "recipes": dict(_RECIPES),
    }


def index_text() -> str:
    """What `catalog_index.json` has to hold."""
    return json.dumps({"registries": digests(), "tables": described()}, indent=1, ensure_ascii=False) + "\n"


def write_index() -> None:
    """Write `catalog_index.json` anew, after a registry or a description was changed."""
    INDEX.write_text(index_text(), encoding="utf-8")


def _summary(thing: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((thing.__doc__ or "").strip().split("\n\n")[0].split())


def _network(name: str) -> str:
    """What a backbone is, and its size on 32x32 color images."""
    # On "meta" nothing is computed or allocated.
    with torch.device("meta"):
        backbone = build_backbone(name, (3, 32, 32))
    weights = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    return f"{weights:.2g} M weights, embedding of {backbone.features}: {_summary(type(backbone))}"


def _settings(ablation: Ablation) -> str:
    return ", ".join(f"defense.{name}={value}" for name, value in ablation.fields.items())


def _collection_text(table: Collection) -> str:
    parts = dict.fromkeys(part.suite for part in table.parts)
    return f"{table.description} (suites {', '.join(parts)}; done ones are skipped)"
