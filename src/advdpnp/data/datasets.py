"""Reads the splits of data sets."""

from pathlib import Path
from typing import get_args

import torch

from advdpnp.data.folder.folder_spec import FolderSpec, read_folder
from advdpnp.data.images import Images
from advdpnp.data.memory.given_spec import GivenSpec
from advdpnp.data.readers import data_root
from advdpnp.data.sets import spec
from advdpnp.data.specs import DataSpec, NamedSpec, Split


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
    if isinstance(facts, GivenSpec):
        return facts.read(split)
    if isinstance(facts, FolderSpec):
        pixels, labels = read_folder(facts, split, root)
    else:
        named = facts if isinstance(facts, NamedSpec) else spec(facts.name)
        pixels, labels = named.reader(facts, split, root)
    # A copy: what a reader returns may share read-only memory with the bytes of the file.
    return Images(torch.tensor(pixels), torch.from_numpy(labels), facts.levels)
