"""From a run to its classifier."""

from pathlib import Path

import torch

from advdpnp.api.environment import resolve_device
from advdpnp.experiments import from_config
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Run


def load(folder: Path | str, checkpoint: str = "last", device: str | None = None) -> Classifier:
    """The trained classifier of a run, in eval mode, images in [0, 1] -> logits.

    Args:
        folder: the run's folder.
        checkpoint: "last" or "best" (by held-out robust accuracy).
        device: torch device.
    Raises:
        FileNotFoundError: no run there, or that checkpoint is not written yet. ValueError: damaged or foreign file.
    """
    model, _ = load_checkpoint(Run(Path(folder)), checkpoint, resolve_device(device))
    return model


def load_checkpoint(run: Run, checkpoint: str, device: torch.device) -> tuple[Classifier, int]:
    """A checkpoint's classifier in eval mode, and the epochs that it was trained for; Raises as `load`."""
    if checkpoint not in ("last", "best"):
        raise ValueError(f"checkpoint must be last or best; got {checkpoint!r}")
    model = from_config(run.config()).build()
    weights, epoch = run.read_weights(checkpoint)
    model.load_state_dict(weights)
    return model.to(device).eval(), epoch
