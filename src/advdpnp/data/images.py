"""Labeled images as one tensor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from advdpnp.ranges import Count, check_fields


@dataclass(frozen=True, eq=False)
class Images:
    """Labeled images; the whole set lives on one device.

    Args:
        pixels: (N, channels, H, W) uint8 in [0, levels], or float in [0, 1] with levels 1.
        labels: (N,) int64.
        levels: the pixel value that stands for 1.0.
    """

    pixels: Tensor
    labels: Tensor
    levels: Count = 255

    def __post_init__(self) -> None:
        check_fields(self)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Images":
        """The same set on another device."""
        return Images(self.pixels.to(device), self.labels.to(device), self.levels)

    def select(self, index: Tensor) -> "Images":
        """The images at `index`, (n,) int64, in that order."""
        return Images(self.pixels[index], self.labels[index], self.levels)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, channels, H, W) float32 in [0, 1] and y (B,) int64 of the images at `index`, (B,) int64."""
        return self.pixels[index].to(torch.float32) / self.levels, self.labels[index]

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """`batch` of the first so many images; of all, where there are fewer."""
        return self.batch(torch.arange(min(count, len(self)), device=self.labels.device))
