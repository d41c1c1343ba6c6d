"""Random crop and flip as one gather from the resident set of bytes, in batched tensor code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Draw = Callable[[str, tuple[int, ...]], Tensor]


@dataclass(frozen=True)
class Augmentation:
    """Crop and flip.

    Args:
        padding: pixels of padding on each side before a random crop of the original size; 0 for no crop.
        mode: what the padding holds: "reflect", without the edge repeated (Bag of Tricks for AT), or "zero".
        flip: mirror left and right with probability 1/2.
    """

    padding: int = 0
    mode: Literal["reflect", "zero"] = "reflect"
    flip: bool = False

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"augmentation.padding must be at least 0; got {self.padding}")
        if self.mode not in ("reflect", "zero"):
            raise ValueError(f"augmentation.mode must be reflect or zero; got {self.mode!r}")


def _source(size: int, offset: Tensor, padding: int) -> Tensor:
    """(B, size) positions in the unpadded image, outside it where the crop reaches into the padding."""
    return torch.arange(size, device=offset.device) + offset[:, None] - padding


def _reflect(position: Tensor, size: int) -> Tensor:
    return (size - 1) - (position.abs() - (size - 1)).abs()


def augment(pixels: Tensor, index: Tensor, augmentation: Augmentation, draw: Draw) -> Tensor:
    """A batch of the set, each image cropped and flipped at random.

    Args:
        pixels: (N, channels, H, W) uint8, the whole set.
        index: (B,) int64, which images.
        augmentation: what is done; padding must be smaller than the image.
        draw: (name, shape) -> (B, *shape) uniforms in [0, 1), one row per image.
    Returns:
        (B, channels, H, W) uint8.
    """
    padding, (height, width) = augmentation.padding, pixels.shape[2:]
    if padding == 0 and not augmentation.flip:
        return pixels[index]
    if padding:
        offset = (draw("crop", (2,)) * (2 * padding + 1)).long()
    else:
        offset = torch.zeros(len(index), 2, dtype=torch.int64, device=index.device)
    rows, columns = _source(height, offset[:, 0], padding), _source(width, offset[:, 1], padding)
    if augmentation.flip:
        columns = torch.where(draw("flip", (1,)) < 0.5, columns.flip(1), columns)
    batch = _gather(pixels, index, _reflect(rows, height), _reflect(columns, width))
    if augmentation.mode == "zero":
        inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[
            :, None, None, :
        ]
        batch = batch * inside
    return batch


def _gather(pixels: Tensor, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    channel = torch.arange(pixels.shape[1], device=pixels.device)[None, :, None, None]
    return pixels[index[:, None, None, None], channel, rows[:, None, :, None], columns[:, None, None, :]]
