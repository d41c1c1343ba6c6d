"""Named experiments, and their configurations as files."""

from advdpnp.experiments.config import read_changes
from advdpnp.experiments.defaults import VARIANTS
from advdpnp.experiments.experiment import Experiment, experiment, experiment_on, from_config

__all__ = ["VARIANTS", "Experiment", "experiment", "experiment_on", "from_config", "read_changes"]
