"""Names and descriptions of all defenses, experiments, attacks, suites, data sets and so on, for `advdpnp list`."""

from advdpnp.attacks import ATTACKS, suite, suite_names
from advdpnp.data import PATTERNS, SPECS
from advdpnp.defenses import DEFENSES
from advdpnp.experiments import ABLATIONS, Ablation
from advdpnp.experiments.plugins import installed
from advdpnp.metrics import CENTER_METRICS, FEATURE_METRICS
from advdpnp.models import BACKBONES
from advdpnp.ranges import nearest
from advdpnp.training import RECIPE_NAMES


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _settings(ablation: Ablation) -> str:
    return ", ".join(f"defense.{name}={value}" for name, value in ablation.fields.items())


def _tables() -> dict[str, dict[str, str]]:
    return {
        "defenses": {name: f"an installed package's: {point.value}" for name, point in installed().items()}
        | {name: _first_line(defense) for name, defense in DEFENSES.items()},
        "experiments": {
            name: f"{ablation.description} ({_settings(ablation)})" for name, ablation in ABLATIONS.items()
        },
        "attacks": {name: _first_line(attack) for name, attack in ATTACKS.items()},
        "suites": {name: suite(name, 8 / 255).description for name in suite_names()},
        "data": {
            name: f"{spec.num_classes} classes, {'x'.join(map(str, spec.image_shape))}" for name, spec in SPECS.items()
        }
        | PATTERNS,
        "models": dict.fromkeys(BACKBONES, ""),
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
