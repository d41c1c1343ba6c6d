"""Data sets: facts, download, checks, readers, statistics, and augmentation on the device."""

from advdpnp.data.augment import Augmentation, augment
from advdpnp.data.datasets import load
from advdpnp.data.describe import contact_sheet, describe, load_splits, measure, measure_text
from advdpnp.data.download.checks import FileCheck, check
from advdpnp.data.download.download import download
from advdpnp.data.folder.folder_spec import FolderSpec, folder_spec
from advdpnp.data.folder.known import Found, KnownImages, find_known, known_images
from advdpnp.data.images import Images
from advdpnp.data.memory.given_spec import GivenSpec, given
from advdpnp.data.readers import data_root
from advdpnp.data.sets import PATTERNS, SPECS, spec
from advdpnp.data.specs import DataSpec, NamedSpec
from advdpnp.data.stratify import stratified

__all__ = [
    "PATTERNS",
    "SPECS",
    "Augmentation",
    "DataSpec",
    "FileCheck",
    "FolderSpec",
    "Found",
    "GivenSpec",
    "Images",
    "KnownImages",
    "NamedSpec",
    "augment",
    "check",
    "contact_sheet",
    "data_root",
    "describe",
    "download",
    "find_known",
    "folder_spec",
    "given",
    "known_images",
    "load",
    "load_splits",
    "measure",
    "measure_text",
    "spec",
    "stratified",
]
