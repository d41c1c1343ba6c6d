"""The network that adversarial images are crafted on, where another one is evaluated."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from advdpnp.api.loading import load_checkpoint, stored_experiment
from advdpnp.attacks.attack import check_mode
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.evaluation.transfer import TransferSource
from advdpnp.external.external_model import single_precision, tensors_sum
from advdpnp.runs import Run


def source_of(asked: Any, x: Tensor) -> TransferSource | None:
    """The source of a transfer evaluation on the images' device; None where none is asked for.

    Args:
        asked: the folder of a run, whose last weights are taken, or a network in eval mode.
        x: (B, channels, H, W) in [0, 1], some of the images.
    Raises:
        ValueError, FileNotFoundError: no run there, a network in training mode, or neither.
    """
    if asked is None:
        return None
    if isinstance(asked, nn.Module):
        check_mode(asked)
        model, _ = single_precision(out_of_inference(asked), x)
        return TransferSource(model.to(x.device), type(asked).__name__, tensors_sum(model.state_dict()))
    if not isinstance(asked, str | Path):
        raise ValueError(
            f"transfer_from must be the folder of a run or a network in eval mode; got a {type(asked).__name__}"
        )
    run = Run(Path(asked))
    name = stored_experiment(run).folder(Path()).as_posix()
    model, _ = load_checkpoint(run, "last", x.device)
    return TransferSource(model, name, run.weights_sha256(run.stored_checkpoint("last")))
