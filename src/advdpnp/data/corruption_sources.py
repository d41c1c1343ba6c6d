"""Where the corrupted images of an evaluation come from: the published arrays of CIFAR-10-C, or generated here."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from advdpnp.data.corruptions import CORRUPTIONS, FAMILY, SEVERITIES, corrupt, open_array
from advdpnp.data.folder.folder_spec import FolderSpec
from advdpnp.data.images import Images
from advdpnp.data.memory.given_spec import GivenSpec
from advdpnp.data.specs import DataSpec

_FOLDER, _CLEAN = "CIFAR-10-C", "cifar10"


class CorruptionSource(Protocol):
    """Corrupted images of one test set; `name` is what results say of them."""

    @property
    def name(self) -> Literal["generated", "published"]: ...

    def images(self, x: Tensor, corruption: str, severity: int, index: Tensor, seed: int) -> Tensor:
        """The images x, (B, channels, H, W) in [0, 1], whose positions in the test set are `index`, corrupted."""


class GeneratedCorruptions:
    """Of any test set, by `advdpnp.data.corruptions.corrupt`; keyed by the images' positions and a seed."""

    name: Literal["generated"] = "generated"

    def images(self, x: Tensor, corruption: str, severity: int, index: Tensor, seed: int) -> Tensor:
        return corrupt(x, corruption, severity, index=index, seed=seed)


GENERATED = GeneratedCorruptions()


class PublishedCorruptions:
    """The published arrays; nothing in them is drawn, so the seed is not used.

    Args:
        folder: CIFAR-10-C, with all corruptions and labels.npy.
        clean: the test set that they were made of.
    Raises:
        ValueError: a file is damaged, has another shape, or labels that are not those of the test set.
    """

    name: Literal["published"] = "published"

    def __init__(self, folder: Path, clean: Images) -> None:
        self._n, (channels, height, width) = len(clean), clean.pixels.shape[1:]
        self._arrays = {corruption: open_array(folder / f"{corruption}.npy") for corruption in CORRUPTIONS}
        shape = (SEVERITIES * self._n, height, width, channels)
        for corruption, array in self._arrays.items():
            if array.shape != shape or array.dtype != np.uint8:
                raise ValueError(
                    f"{folder / corruption}.npy must hold uint8 images {shape}; got {array.dtype} {array.shape}: "
                    f"run `advdpnp data check {FAMILY}`"
                )
        labels = np.asarray(open_array(folder / "labels.npy"))
        if not np.array_equal(labels, np.tile(clean.labels.cpu().numpy(), SEVERITIES)):
            raise ValueError(
                f"{folder / 'labels.npy'} must hold the labels of {_CLEAN}'s test images at each severity; got others: "
                f"run `advdpnp data check {FAMILY}`"
            )

    def images(self, x: Tensor, corruption: str, severity: int, index: Tensor, seed: int) -> Tensor:
        rows = self._arrays[corruption][(severity - 1) * self._n + index.cpu().numpy()]
        pixels = torch.from_numpy(np.array(rows).transpose(0, 3, 1, 2))
        return (pixels.to(torch.float32) / 255).to(x.device)


def corruption_source(facts: DataSpec, clean: Images, root: Path) -> tuple[CorruptionSource, str]:
    """The published arrays where they are those of this test set and all there, else generated images; and a remark.

    Args:
        facts: about the test set.
        clean: its images, all of them.
        root: folder of the data files.
    Raises:
        ValueError: a test set that is corrupted already, or damaged arrays.
    """
    if isinstance(facts, FolderSpec | GivenSpec):
        return GENERATED, ""
    if facts.name.startswith(FAMILY):
        raise ValueError(
            f"{facts.name} is corrupted already: evaluate the corruptions of {_CLEAN}, or this set with --suite clean"
        )
    folder, names = root / _FOLDER, (*CORRUPTIONS, "labels")
    if facts.name != _CLEAN or not folder.is_dir():
        return GENERATED, ""
    missing = [name for name in names if not (folder / f"{name}.npy").is_file()]
    if missing:
        return GENERATED, f"{folder} lacks {', '.join(missing[:3])}: all corruptions are generated instead"
    return PublishedCorruptions(folder, clean), ""
