"""Image sets as uint8 tensors."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from advdpnp.data.folder.folder_spec import FolderSpec, read_folder
from advdpnp.data.readers import data_root
from advdpnp.data.sets import spec
from advdpnp.data.specs import DataSpec, NamedSpec, Split
from advdpnp.ranges import Count, check_fields


@dataclass(frozen=True, eq=False)
class Images:
    """Labeled images as bytes; the whole set lives on one device.

    Args:
        pixels: (N, channels, H, W) uint8 in [0, levels].
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


def load(which: DataSpec | str, split: Split, root: Path | str | None = None) -> Images:
    """One split of a data set, in the order of its files, on the CPU.

    Args:
        which: a data set's name, see `advdpnp list data`, or facts about it.
        split: "train" or "test".
        root: see `data_root`; digits need none.
    Raises:
        ValueError: unknown name or split, a split that the set does not have, or a damaged file.
        FileNotFoundError: a file is missing.
    """
    return read(spec(which) if isinstance(which, str) else which, split, data_root(root))


def read(facts: DataSpec, split: Split, root: Path) -> Images:
    """The images that `facts` describe, checked against them; Args and Raises as `load`."""
    if split not in get_args(Split):
        raise ValueError(f"split must be train or test; got {split!r}")
    if split == "train" and not facts.train_size:
        raise ValueError(f"{facts.name} has test images only; got split 'train': train on another set, and test on it")
    if isinstance(facts, FolderSpec):
        pixels, labels = read_folder(facts, split, root)
    else:
        named = facts if isinstance(facts, NamedSpec) else spec(facts.name)
        pixels, labels = named.reader(facts, split, root)
    # A copy: what a reader returns may share read-only memory with the bytes of the file.
    return Images(torch.tensor(pixels), torch.from_numpy(labels), facts.levels)
