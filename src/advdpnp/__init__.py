"""Adversarially robust image classifiers with unified prototypes: an independent implementation of Adv-DPNP.

Names are imported when they are first used, so that `import advdpnp` and `advdpnp --help` are quick.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "advdpnp.api": ("evaluate", "export", "load", "train"),
    "advdpnp.experiments": ("Experiment", "experiment"),
    "advdpnp.defenses": ("ALP", "AT", "ATHE", "DPNP", "MART", "ST", "TRADES", "AdvDPNP", "Batch", "DEFENSES", "Defense"),
    "advdpnp.attacks": ("FGSM", "PGD", "CarliniWagner"),
    "advdpnp.threat": ("ThreatModel",),
    "advdpnp.models": ("build_backbone",),
    "advdpnp.models.classifier": ("Classifier",),
    "advdpnp.report": ("write_report",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'advdpnp' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
