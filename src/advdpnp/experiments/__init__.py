"""Named experiments, and their configurations as files."""

from advdpnp.experiments.config import read_changes
from advdpnp.experiments.defaults import VARIANTS
from advdpnp.experiments.experiment import Experiment, experiment, from_config

__all__ = ["VARIANTS", "Experiment", "experiment", "from_config", "read_changes"]
