"""A smooth network in float64, whose gradients are exact enough to be compared with derivatives worked out by hand."""

from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.defenses import Batch, Defense
from advdpnp.models.classifier import Backbone

CLASSES, WIDTH, IMAGES = 5, 7, 12


class Smooth(Backbone):
    """tanh of a linear map."""

    def __init__(self, pixels: int = 12, features: int = WIDTH) -> None:
        super().__init__()
        self.map = nn.Linear(pixels, features)
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.map(x.flatten(1)))


def make(defense: Defense[Any], **fields: Any) -> tuple[Any, Batch, Tensor]:
    """The defense's network, a batch and adversarial images."""
    torch.manual_seed(3)
    model = defense.build(Smooth(), CLASSES).double()
    defense.between_epochs(model, 0)
    x = torch.rand(IMAGES, 3, 2, 2, dtype=torch.float64)
    x_adv = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
    y = torch.arange(IMAGES) % CLASSES
    return model, Batch(x, y, torch.arange(IMAGES), seed=0, epoch=0, step=0, **fields), x_adv


def outputs_and_gradients(
    part: nn.Module, defense: Defense[Any], model: Any, batch: Batch, x_adv: Tensor
) -> tuple[dict[str, Tensor], list[Tensor], list[Tensor]]:
    """Loss terms; outputs of each forward of a part of the network, in order; gradient of the terms' sum on each."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    handle = part.register_forward_hook(keep)
    terms = defense.loss(model, batch, x_adv)
    handle.remove()
    torch.stack(list(terms.values())).sum().backward()
    gradients = [output.grad if output.grad is not None else torch.zeros_like(output) for output in outputs]
    return terms, [output.detach() for output in outputs], gradients


def terms_and_logit_gradients(
    defense: Defense[Any], model: Any, batch: Batch, x_adv: Tensor
) -> tuple[dict[str, float], list[Tensor], list[Tensor]]:
    """Loss terms; logits of each forward of the loss, in order; gradient of the sum of the terms on each of them."""
    terms, logits, gradients = outputs_and_gradients(model.head, defense, model, batch, x_adv)
    return {name: value.item() for name, value in terms.items()}, logits, gradients
