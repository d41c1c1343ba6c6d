"""A trained network inside another one, which reads it and never changes it."""

from typing import cast

import torch
from torch import Tensor, nn


class Helper(nn.Module):
    """A network without gradients and always in eval mode, whatever is asked of the network that holds it.

    Its weights are in the state_dict like all others. Frozen copies (`advdpnp.models.frozen`) share it.

    Args:
        network: what is frozen, in place.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """What the network says of x (B, channels, H, W)."""
        return cast(Tensor, self.network(x))

    def train(self, mode: bool = True) -> "Helper":
        """Stay in eval mode."""
        return super().train(False)
