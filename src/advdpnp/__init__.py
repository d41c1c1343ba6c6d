"""Adversarially robust image classifiers with unified prototypes: an independent implementation of Adv-DPNP.

Names are imported when they are first used, so that `import advdpnp` and `advdpnp --help` are quick.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "advdpnp.api": ("audit", "compare", "evaluate", "explain", "export", "load", "ood", "predict", "train"),
    "advdpnp.attacks": (
        "APGDCE",
        "APGDDLR",
        "APGDT",
        "FABT",
        "FGSM",
        "PGD",
        "AdaptiveAPGD",
        "AdaptivePGD",
        "AutoAttack",
        "AutoAttackPlus",
        "CarliniWagner",
        "MarginPGD",
        "Objective",
        "QuickAutoAttack",
        "Square",
        "suite",
    ),
    "advdpnp.attacks.projected_ascent": ("Budget", "ascend"),
    "advdpnp.data": ("Images", "folder_spec", "given"),
    "advdpnp.defenses": (
        "ALP",
        "AT",
        "ATHE",
        "DEFENSES",
        "DIO",
        "DPNP",
        "FSR",
        "HAT",
        "IKL",
        "MART",
        "OC",
        "PCL",
        "ST",
        "TRADES",
        "AdvDPNP",
        "AdvDPNPFSR",
        "AdvDPNPHAT",
        "Batch",
        "Defense",
    ),
    "advdpnp.experiments": ("Experiment", "experiment", "experiment_on", "register_defense"),
    "advdpnp.losses": (
        "cross_entropy",
        "kl_divergence",
        "margin",
        "nearest_rival",
        "prototype_alignment",
        "prototype_repulsion",
    ),
    "advdpnp.metrics": ("afs", "fdr", "mcnemar", "mean_separation_degrees", "min_separation_degrees", "scr", "wilson"),
    "advdpnp.models": ("build_backbone",),
    "advdpnp.models.classifier": ("Backbone", "Classifier", "Head"),
    "advdpnp.models.heads": ("CosineHead", "LinearHead", "MultiHead", "PrototypeClassifier", "PrototypeHead"),
    "advdpnp.noise": ("IndexNoise",),
    "advdpnp.report": ("write_report",),
    "advdpnp.threat": ("ThreatModel", "parse_eps"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'advdpnp' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
