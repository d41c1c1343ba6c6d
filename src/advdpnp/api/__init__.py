"""What the command line and Python share: train, load, evaluate and compare by name or by run folder."""

from advdpnp.api.environment import environment, resolve_device, use_tf32
from advdpnp.api.evaluation import compare, evaluate, illustrate
from advdpnp.api.loading import load, load_checkpoint
from advdpnp.api.training import make_task, train

__all__ = [
    "compare",
    "environment",
    "evaluate",
    "illustrate",
    "load",
    "load_checkpoint",
    "make_task",
    "resolve_device",
    "train",
    "use_tf32",
]
