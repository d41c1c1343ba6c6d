"""Named experiments, defenses from elsewhere, and configurations as files."""

from advdpnp.experiments.ablations import ABLATIONS, Ablation
from advdpnp.experiments.config import read_changes
from advdpnp.experiments.experiment import Experiment, experiment, experiment_on, from_config
from advdpnp.experiments.initial import Initial
from advdpnp.experiments.plugins import read_plugin, register_defense

__all__ = [
    "ABLATIONS",
    "Ablation",
    "Experiment",
    "Initial",
    "experiment",
    "experiment_on",
    "from_config",
    "read_changes",
    "read_plugin",
    "register_defense",
]
