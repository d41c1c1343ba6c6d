"""External models: networks that advdpnp did not train, from their own code and weights."""

from advdpnp.external.builder import allow, build, parse_arguments
from advdpnp.external.checkpoint_file import read_checkpoint
from advdpnp.external.conversion import convert_weights
from advdpnp.external.external_model import ExternalModel, Normalized
from advdpnp.external.weights import load_weights

__all__ = [
    "ExternalModel",
    "Normalized",
    "allow",
    "build",
    "convert_weights",
    "load_weights",
    "parse_arguments",
    "read_checkpoint",
]
