"""Loads the classifier of a run."""

from collections.abc import Callable
from pathlib import Path

import torch

from advdpnp.api.environment import resolve_device
from advdpnp.experiments import Experiment, from_config
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


def chosen_checkpoint(run: Run, asked: str | None, tell: Callable[[str], None]) -> str:
    """The name of the weights that are read: those that are asked for, else last; and a word on the others.

    Raises:
        ValueError, FileNotFoundError: as `load`.
    """
    name = run.stored_checkpoint(_known(asked or "last"))
    best = run.trained_epochs("best") if asked is None and name == "last" else None
    last = run.trained_epochs("last") if best is not None else None
    if best != last:
        tell(
            f"these are the last weights (epoch {last}), as in the paper; the held-out images chose best "
            f"(epoch {best}): --checkpoint best takes them"
        )
    return name


def _known(checkpoint: str) -> str:
    if checkpoint not in ("last", "best"):
        raise ValueError(f"checkpoint must be last or best; got {checkpoint!r}")
    return checkpoint


def load_checkpoint(run: Run, checkpoint: str, device: torch.device) -> tuple[Classifier, int]:
    """A checkpoint's classifier in eval mode, and the epochs that it was trained for; Raises as `load`."""
    _known(checkpoint)
    experiment = stored_experiment(run)
    checkpoint = run.stored_checkpoint(checkpoint)
    model = experiment.build()
    weights, epoch = run.read_weights(checkpoint)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{run.stored_weights_path(checkpoint)} does not fit the network of its run "
            f"({' '.join(str(error).split())[:300]}): put the run's own checkpoint back, or train again"
        ) from None
    return model.to(device).eval(), epoch


def stored_experiment(run: Run) -> Experiment:
    """The experiment in a run's config.json; ValueError naming the file, where it holds none."""
    path, config = run.folder / "config.json", run.config()
    try:
        return from_config(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else f"{error}"
        raise ValueError(f"{path} is damaged ({problem}): restore it, or train the run again") from error
