"""Networks from elsewhere: anyone's code and weights, read without running what a weights file holds."""

from advdpnp.external.builder import build, parse_arguments
from advdpnp.external.normalized import Normalized
from advdpnp.external.source import ExternalModel
from advdpnp.external.weights import load_weights, read_checkpoint

__all__ = ["ExternalModel", "Normalized", "build", "load_weights", "parse_arguments", "read_checkpoint"]
