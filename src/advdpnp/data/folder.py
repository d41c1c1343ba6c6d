"""A folder of images by class."""

from dataclasses import dataclass

from advdpnp.data.specs import DataSpec


@dataclass(frozen=True, kw_only=True)
class FolderSpec(DataSpec):
    """Facts about a folder of images.

    Args:
        path: the folder.
        split_seed: seed of the split.
        checksum: SHA-256 of pixels, labels and class names.
    """

    path: str
    split_seed: int
    checksum: str
