"""The published files, where there are some: shapes, class counts and checksums of what is read."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp.data import check, load, spec
from advdpnp.data.formats.restricted_pickle import read_pickle

pytestmark = pytest.mark.data

# SHA-256 of the raw bytes: images as N x H x W [x 3], labels as bytes.
PUBLISHED = {
    ("cifar10", "train"): (
        "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    ),
    ("cifar10", "test"): (
        "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    ),
    ("cifar100", "train"): (
        "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
        "9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3",
    ),
    ("cifar100", "test"): (
        "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
        "4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
    ),
    ("mnist", "train"): (
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    ),
    ("mnist", "test"): (
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
}
COUNTS = {
    ("cifar10", "train"): [5000] * 10,
    ("cifar10", "test"): [1000] * 10,
    ("cifar100", "train"): [500] * 100,
    ("cifar100", "test"): [100] * 100,
    ("mnist", "train"): [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    ("mnist", "test"): [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


def sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(tensor.numpy())).hexdigest()


@pytest.mark.parametrize(("name", "split"), PUBLISHED)
def test_the_real_files_hold_the_published_bytes(real_data: Path, name: str, split: str) -> None:
    images = load(name, split, real_data)  # type: ignore[arg-type]
    facts = spec(name)
    n = facts.train_size if split == "train" else facts.test_size
    assert images.pixels.shape == (n, *facts.image_shape)
    assert torch.bincount(images.labels).tolist() == COUNTS[name, split]
    assert (sha256(images.pixels.permute(0, 2, 3, 1)), sha256(images.labels.byte())) == PUBLISHED[name, split]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist"])
def test_the_real_files_have_the_published_md5_sums(real_data: Path, name: str) -> None:
    found = check(name, real_data)
    assert found
    assert [file.text() for file in found if not file.ok] == []


def test_mnist_is_the_same_plain_and_gzipped(real_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (real_data / "MNIST" / "raw").glob("t10k-*.gz"):
        (raw / file.name).symlink_to(file.absolute())
    if not any(raw.iterdir()):
        pytest.skip(
            "compares MNIST plain and gzipped, and $ADVDPNP_DATA holds the plain files only: either form is enough"
        )
    assert torch.equal(load("mnist", "test", tmp_path).pixels, load("mnist", "test", real_data).pixels)


@pytest.mark.parametrize(
    ("name", "file", "key"),
    [
        ("cifar10", "cifar-10-batches-py/batches.meta", b"label_names"),
        ("cifar100", "cifar-100-python/meta", b"fine_label_names"),
    ],
)
def test_class_names_are_those_of_the_real_files(real_data: Path, name: str, file: str, key: bytes) -> None:
    assert tuple(entry.decode() for entry in read_pickle(real_data / file)[key]) == spec(name).class_names
