"""Facts about a data set, and for one that is known by name its reader and where its files come from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from advdpnp.data.augment import Augmentation
from advdpnp.data.download.sources import Archive
from advdpnp.folder_names import folder_name
from advdpnp.ranges import Count, Natural, NonNegative, Share, check_fields

Split = Literal["train", "test"]
# Pixels (N, channels, H, W) uint8 in [0, levels], and labels (N,) int64.
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class DataSpec:
    """Facts about one data set.

    Args:
        name: as on the command line and in results.
        image_shape: (channels, H, W).
        class_names: one for each class, in the order of the labels.
        train_size: training images; 0 for a set that is only tested on.
        test_size: test images.
        eps: the field's usual l_inf radius, for images in [0, 1].
        holdout: training images that the recipe `default` holds out.
        augmentation: the field's usual crop and flip.
        levels: the pixel value that stands for 1.0.
        validation_size: images at the end of the training split that are never trained on, but choose the `best`
            weights; 0 where a recipe holds out images of its own choice.
    """

    name: str
    image_shape: tuple[Count, Count, Count]
    class_names: tuple[str, ...]
    train_size: Natural
    test_size: Natural
    eps: Share
    holdout: Natural
    augmentation: Augmentation
    levels: Count = 255
    validation_size: Natural = 0

    def __post_init__(self) -> None:
        check_fields(self, "data")

    def with_images_of(self, other: "DataSpec") -> "DataSpec":
        """The same facts, with the images that the other one holds in memory, where such facts do."""
        return self

    @property
    def fingerprint(self) -> str:
        """A checksum of the test images of a set that is not published; "" for one that its name tells."""
        return ""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def radii(self) -> dict[str, float]:
        """The field's usual radius by norm; a norm in which there is none is left out."""
        return {"linf": self.eps}


def slug(name: str) -> str:
    """A name as part of a folder's, which ends before a "+"; "images" where nothing is left."""
    return folder_name(name.replace("+", "-")) or "images"


# What reads one split from the files under the data root.
Reader = Callable[[DataSpec, Split, Path], Arrays]


@dataclass(frozen=True, kw_only=True)
class NamedSpec(DataSpec):
    """Facts about a data set that is known by name.

    Args:
        reader: reads one split from the files under the data root; raises FileNotFoundError where one is missing and
            ValueError where one is not what the facts say.
        archives: what `advdpnp data download` fetches; none for a set that needs no download.
        origin: where the images of a set without archives come from, in a few words.
        eps_l2, eps_l1: the field's usual radii in l2 and l1, for images in [0, 1]; None where there is none.
    """

    reader: Reader
    archives: tuple[Archive, ...] = ()
    origin: str = "files of your own"
    eps_l2: NonNegative | None = None
    eps_l1: NonNegative | None = None

    @property
    def radii(self) -> dict[str, float]:
        others = {"l2": self.eps_l2, "l1": self.eps_l1}
        return super().radii | {norm: eps for norm, eps in others.items() if eps is not None}
