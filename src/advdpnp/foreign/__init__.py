"""Networks from elsewhere: anyone's code and weights, read without running what a weights file holds."""

from advdpnp.foreign.builder import build, parse_arguments
from advdpnp.foreign.normalized import Normalized
from advdpnp.foreign.source import ForeignModel
from advdpnp.foreign.weights import load_weights, read_checkpoint

__all__ = ["ForeignModel", "Normalized", "build", "load_weights", "parse_arguments", "read_checkpoint"]
