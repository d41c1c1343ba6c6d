"""Named experiments, and their configurations as files."""

from advdpnp.experiments.config import read_changes
from advdpnp.experiments.defaults import VARIANTS
from advdpnp.experiments.experiment import Experiment, experiment, experiment_on, from_config
from advdpnp.experiments.initial import Initial

__all__ = ["VARIANTS", "Experiment", "Initial", "experiment", "experiment_on", "from_config", "read_changes"]
