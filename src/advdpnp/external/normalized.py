"""Normalization inside the network, so that attacks see pixels."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from advdpnp.mode import settle


class Normalized(nn.Module):
    """A network that wants normalized images, as one that takes pixels: model((x - mean) / std).

    Args:
        model: the network.
        mean: one number, or one for each channel, for pixels in [0, 1].
        std: as `mean`, above 0.
    Raises:
        ValueError: numbers of different count, or a std that is not above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise ValueError(f"mean and std must be as many numbers, one for each channel; got {len(mean)}, {len(std)}")
        if not all(value > 0 for value in std):
            raise ValueError(f"std must be above 0; got {', '.join(f'{value:g}' for value in std)}")
        self.model = settle(model)
        # Tensors of the network's own device and no part of its weights.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.train(model.training)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> what the network answers to normalized images."""
        if len(self.mean) not in (1, x.shape[1]):
            raise ValueError(f"mean and std have {len(self.mean)} numbers, but images have {x.shape[1]} channels")
        return cast(Tensor, self.model((x - self.mean) / self.std))
