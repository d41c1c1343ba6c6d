"""The layer that reads the image, which low precision leaves in float32.

Near 1 bfloat16 has the steps of an 8-bit image, so an image and one that is a small step away would be rounded to the
same, or far apart: an attack on their difference, as TRADES' first iterations are, would follow the rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from advdpnp.models.classifier import Classifier


def first_layer(model: nn.Module) -> nn.Module | None:
    """The first convolution or linear layer of a network, a classifier's backbone; None where it has none."""
    backbone = model.backbone if isinstance(model, Classifier) else model
    return next((module for module in backbone.modules() if isinstance(module, nn.Conv2d | nn.Linear)), None)


@contextmanager
def computed_in_bf16(model: nn.Module, device: str) -> Iterator[None]:
    """Autocast to bfloat16 for a network, but for its first layer: that computes in float32, and its output is rounded.

    Args:
        model: any network.
        device: type of its device, such as "cpu".
    """
    layer = first_layer(model)
    with torch.autocast(device, torch.bfloat16):
        if layer is None:
            yield
            return
        forward, own = layer.forward, vars(layer).get("forward")

        def exact(x: Tensor) -> Tensor:
            with torch.autocast(device, enabled=False):
                output: Tensor = forward(x.float())
            return output.bfloat16()

        layer.forward = exact
        try:
            yield
        finally:
            del layer.forward
            if own is not None:
                layer.forward = own
