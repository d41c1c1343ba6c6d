"""Random crop and horizontal flip, as one gather from the uint8 data set on the device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from advdpnp.ranges import Natural, check_fields

Draw = Callable[[str, tuple[int, ...]], Tensor]
Padding = Literal["reflect", "zero"]


@dataclass(frozen=True)
class Augmentation:
    """Random crop from the padded image, then a mirror image with probability 1/2.

    Args:
        padding: pixels on each side, at least 0 and smaller than the image; 0 for no crop.
        mode: what the padding holds: "reflect", without the edge repeated (Bag of Tricks for AT), or "zero".
        flip: mirror left and right.
    """

    padding: Natural = 0
    mode: Padding = "reflect"
    flip: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "augmentation")

    def __str__(self) -> str:
        steps = [f"crop, {self.padding} pixels of {self.mode} padding"] * bool(self.padding) + ["flip"] * self.flip
        return ", ".join(steps) or "none"


def augment(pixels: Tensor, index: Tensor, augmentation: Augmentation, draw: Draw) -> Tensor:
    """A batch of the set, each image cropped and flipped at random.

    Args:
        pixels: (N, channels, H, W) uint8, the whole set.
        index: (B,) int64, which images.
        augmentation: crop and flip.
        draw: (name, shape) -> (B, *shape) uniforms in [0, 1), one row per image, on the device of `pixels`.
    Returns:
        (B, channels, H, W) uint8.
    Raises:
        ValueError: the padding is as large as the image.
    """
    padding, (channels, height, width) = augmentation.padding, pixels.shape[1:]
    if padding >= min(height, width):
        raise ValueError(
            f"augmentation.padding must be smaller than the image, {height} x {width}; got {padding}. The usual is 4"
        )
    if padding == 0 and not augmentation.flip:
        return pixels[index]
    rows = torch.arange(height, device=pixels.device).expand(len(index), -1)
    columns = torch.arange(width, device=pixels.device).expand(len(index), -1)
    if padding:
        offset = (draw("crop", (2,)) * (2 * padding + 1)).long() - padding
        rows, columns = rows + offset[:, :1], columns + offset[:, 1:]
    if augmentation.flip:
        columns = torch.where(draw("flip", (1,)) < 0.5, columns.flip(1), columns)
    batch = pixels[
        index[:, None, None, None],
        torch.arange(channels, device=pixels.device)[:, None, None],
        _reflect(rows, height)[:, None, :, None],
        _reflect(columns, width)[:, None, None, :],
    ]
    if padding and augmentation.mode == "zero":
        batch *= _inside(rows, height)[:, None, :, None] & _inside(columns, width)[:, None, None, :]
    return batch


def _reflect(position: Tensor, size: int) -> Tensor:
    """Positions reflected into [0, size - 1]: -1 becomes 1, and `size` becomes size - 2."""
    return (size - 1) - (position.abs() - (size - 1)).abs()


def _inside(position: Tensor, size: int) -> Tensor:
    return (position >= 0) & (position < size)
