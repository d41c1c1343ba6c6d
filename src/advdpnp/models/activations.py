"""Backbones whose embeddings take either sign, for methods that ask for negative coordinates.

They find the activations that are modules of the class `nn.ReLU`; what a `forward` calls as a function stays as it is.
"""

from torch import nn

from advdpnp.models.classifier import Backbone


def with_prelu(backbone: Backbone) -> Backbone:
    """The backbone, in place, with a PReLU of one slope (0.25 at first, learned) for every ReLU."""
    for path, module in _activations(backbone):
        if isinstance(module, nn.ReLU):
            backbone.set_submodule(path, nn.PReLU())
    return backbone


def without_last_relu(backbone: Backbone) -> Backbone:
    """The backbone, in place, without the ReLU that its embedding comes from; one that ends in a PReLU stays as it is.

    The last activation is the one that was made last, which in our backbones is the last that the data passes.
    """
    for path, last in _activations(backbone)[-1:]:
        if isinstance(last, nn.ReLU):
            backbone.set_submodule(path, nn.Identity())
    return backbone


def _activations(backbone: Backbone) -> list[tuple[str, nn.Module]]:
    return [(path, module) for path, module in backbone.named_modules() if isinstance(module, nn.ReLU | nn.PReLU)]
