"""Names and descriptions of all defenses, experiments, attacks, suites, data sets and so on, for `advdpnp list`."""

import torch

from advdpnp.attacks import ATTACKS, COLLECTIONS, suite, suite_names
from advdpnp.attacks.collections import Collection
from advdpnp.data import PATTERNS, SPECS
from advdpnp.defenses import DEFENSES
from advdpnp.experiments import ABLATIONS, Ablation
from advdpnp.experiments.plugins import installed
from advdpnp.metrics import CENTER_METRICS, FEATURE_METRICS
from advdpnp.models import BACKBONES, build_backbone
from advdpnp.models.libraries import LIBRARIES
from advdpnp.ranges import nearest
from advdpnp.training import RECIPE_NAMES

# Networks that are not ours, by the form of their names.
_OTHERS = {
    **{
        kind.form: f"{package}'s networks, evaluated or trained further; where {package} is installed"
        for package, kind in LIBRARIES.items()
    },
    "FILE.py:callable": "your own network, as --model",
}


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


def _tables() -> dict[str, dict[str, str]]:
    return {
        "defenses": {name: f"an installed package's: {point.value}" for name, point in installed().items()}
        | {name: _summary(defense) for name, defense in DEFENSES.items()},
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
        "recipes": {
            "paper": "Adv-DPNP's protocol: trained on all training images, evaluated at the last epoch",
            "official": "as paper, with the hyper-parameters of the defense's authors",
            "default": "some training images held out, which choose the best epoch",
        },
    }


def catalog(kind: str = "") -> dict[str, dict[str, str]]:
    """Tables of names and descriptions, by kind.

    Args:
        kind: the one table that is wanted, such as "attacks"; "" for all.
    Raises:
        ValueError: there is no such kind.
    """
    tables = _tables()
    assert set(tables["recipes"]) == set(RECIPE_NAMES)
    if kind and kind not in tables:
        raise ValueError(f"there is no list of {kind!r}; nearest: {nearest(kind, tables)}")
    return {title: rows for title, rows in tables.items() if kind in ("", title)}


def catalog_text(tables: dict[str, dict[str, str]]) -> str:
    """The tables as text, one name per line."""
    lines = []
    for title, rows in tables.items():
        width = max(18, *map(len, rows))
        lines += [f"{title}:", *(f"  {name:<{width}} {text}".rstrip() for name, text in rows.items())]
    return "\n".join(lines)
