"""A trained network inside another one, which reads it and never changes it."""

from typing import Any, cast

import torch
from torch import Tensor, nn


class Helper(nn.Module):
    """A network without gradients and always in eval mode, whatever is asked of the network that holds it.

    Its weights are in the state_dict like all others. Frozen copies (`advdpnp.models.frozen`) share it.

    Args:
        network: what is frozen, in place.
        trained: False for a network that is yet to get its weights; until some are loaded, alone or with the network
            that holds it, nothing can be asked of it.
    """

    def __init__(self, network: nn.Module, trained: bool = True) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.trained = trained
        self.network.register_load_state_dict_post_hook(self._note_weights)  # type: ignore[no-untyped-call]
        self.eval()

    def _note_weights(self, network: nn.Module, incompatible_keys: Any) -> None:
        self.trained = True

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """What the network says of x (B, channels, H, W).

        Raises:
            ValueError: it has no trained weights.
        """
        if not self.trained:
            raise ValueError(
                "the helper network has no trained weights: train with advdpnp.train, or call "
                "defense.install(model, weights) with those of a trained network"
            )
        return cast(Tensor, self.network(x))

    def train(self, mode: bool = True) -> "Helper":
        """Stay in eval mode."""
        return super().train(False)
