"""Data: readers, facts, checks, and augmentation on the device."""

from advdpnp.data.augment import Augmentation, augment
from advdpnp.data.checks import FileCheck, check, describe
from advdpnp.data.datasets import Images, data_root, load
from advdpnp.data.folder import FolderSpec
from advdpnp.data.specs import SPECS, DataSpec, spec
from advdpnp.data.stratify import stratified

__all__ = [
    "SPECS",
    "Augmentation",
    "DataSpec",
    "FileCheck",
    "FolderSpec",
    "Images",
    "augment",
    "check",
    "data_root",
    "describe",
    "load",
    "spec",
    "stratified",
]
