"""Data: readers, facts, checks, and augmentation on the device."""

from advdpnp.data.augment import Augmentation, augment
from advdpnp.data.checks import FileCheck, check
from advdpnp.data.contact_sheet import contact_sheet
from advdpnp.data.datasets import Images, load
from advdpnp.data.describe import describe, load_splits, measure, measure_text
from advdpnp.data.download import download
from advdpnp.data.folder import FolderSpec, folder_spec
from advdpnp.data.root import data_root
from advdpnp.data.specs import PATTERNS, SPECS, DataSpec, spec
from advdpnp.data.stratify import stratified

__all__ = [
    "PATTERNS",
    "SPECS",
    "Augmentation",
    "DataSpec",
    "FileCheck",
    "FolderSpec",
    "Images",
    "augment",
    "check",
    "contact_sheet",
    "data_root",
    "describe",
    "download",
    "folder_spec",
    "load",
    "load_splits",
    "measure",
    "measure_text",
    "spec",
    "stratified",
]
