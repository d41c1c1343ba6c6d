"""What the command line and Python users call: train, load, evaluate, predict, compare, export."""

from advdpnp.api.audit import audit
from advdpnp.api.collections import evaluate_collection
from advdpnp.api.environment import deterministic, environment, resolve_device, use_tf32
from advdpnp.api.evaluation import compare, evaluate, evaluate_run
from advdpnp.api.explaining import explain
from advdpnp.api.export import export
from advdpnp.api.external import evaluate_external, evaluate_model
from advdpnp.api.illustration import illustrate, illustrate_external
from advdpnp.api.loading import chosen_checkpoint, load, load_checkpoint
from advdpnp.api.out_of_distribution import ood, ood_external
from advdpnp.api.predicting import predict
from advdpnp.api.training import make_task, train

__all__ = [
    "audit",
    "chosen_checkpoint",
    "compare",
    "deterministic",
    "environment",
    "evaluate",
    "evaluate_collection",
    "evaluate_external",
    "evaluate_model",
    "evaluate_run",
    "explain",
    "export",
    "illustrate",
    "illustrate_external",
    "load",
    "load_checkpoint",
    "make_task",
    "ood",
    "ood_external",
    "predict",
    "resolve_device",
    "train",
    "use_tf32",
]
