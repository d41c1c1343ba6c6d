"""Data: readers, facts, checks, and augmentation on the device."""

from advdpnp.data.augment import Augmentation, augment
from advdpnp.data.checks import FileCheck, check, describe
from advdpnp.data.datasets import Images, data_root, load, stratified
from advdpnp.data.specs import SPECS, DataSpec, spec

__all__ = [
    "SPECS",
    "Augmentation",
    "DataSpec",
    "FileCheck",
    "Images",
    "augment",
    "check",
    "data_root",
    "describe",
    "load",
    "spec",
    "stratified",
]
