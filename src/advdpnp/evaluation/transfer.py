"""Transfer: adversarial images that are crafted on one network and judged on another."""

from dataclasses import dataclass

import torch
from torch import nn

from advdpnp.attacks.attack import check_mode
from advdpnp.attacks.monitored_model import logits_alone
from advdpnp.data import Images
from advdpnp.losses import class_logits
from advdpnp.runs import Json


@dataclass(frozen=True)
class TransferSource:
    """The network that adversarial images are crafted on.

    Args:
        model: in eval mode, on the images' device.
        name: what results call it, such as cifar10/resnet8/at/seed-0.
        weights: SHA-256 of its weights.
    """

    model: nn.Module
    name: str
    weights: str

    @property
    def facts(self) -> Json:
        """What a result says of it."""
        return {"source": self.name, "weights": self.weights}

    @property
    def suffix(self) -> str:
        """What is put behind a suite's name, so that its result does not take the place of a white-box one."""
        return f"-transfer-{self.weights[:8]}"


def check_source(source: TransferSource, images: Images, classes: int) -> None:
    """Raise ValueError unless the source takes these images and knows as many classes as the target."""
    check_mode(source.model)
    x, _ = images.first(1)
    try:
        with torch.no_grad():
            found = class_logits(logits_alone(source.model(x)), 1).shape[1]
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{source.name} cannot take images of {tuple(x.shape[1:])} ({reason}): craft on a network of the same "
            "images as the one that is judged"
        ) from error
    if found != classes:
        raise ValueError(
            f"{source.name} knows {found} classes, and the network that is judged {classes}: craft on a network of "
            "the same classes"
        )
