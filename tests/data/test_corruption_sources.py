from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp.data import SPECS, DataSpec, GivenSpec, Images, spec
from advdpnp.data.corruption_sources import corruption_source
from advdpnp.data.corruptions import CORRUPTIONS, corrupt

CIFAR10 = SPECS["cifar10"]


@pytest.fixture
def clean() -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    return Images(torch.from_numpy(pixels), torch.tensor([3, 8, 8, 0]))


@pytest.fixture
def arrays(tmp_path: Path) -> np.ndarray:
    """All files of CIFAR-10-C for four images; pixels of corruption c, severity s and image i are c + 20 s + 3 i."""
    (tmp_path / "CIFAR-10-C").mkdir()
    levels = np.arange(19)[:, None] + (20 * np.arange(1, 6)[:, None] + 3 * np.arange(4)).ravel()
    for corruption, values in zip(CORRUPTIONS, levels, strict=True):
        images = np.broadcast_to(values.astype(np.uint8)[:, None, None, None], (20, 32, 32, 3))
        np.save(tmp_path / "CIFAR-10-C" / f"{corruption}.npy", images)
    np.save(tmp_path / "CIFAR-10-C" / "labels.npy", np.tile(np.array([3, 8, 8, 0], np.uint8), 5))
    return levels


def test_published_arrays_are_taken_where_they_are_all_there(tmp_path: Path, clean: Images, arrays: np.ndarray) -> None:
    source, remark = corruption_source(CIFAR10, clean, tmp_path)
    assert (source.name, remark) == ("published", "")
    index = torch.tensor([2, 0])
    x, _ = clean.batch(index)
    found = source.images(x, "fog", 3, index, seed=5)
    assert found.shape == x.shape and found.dtype == torch.float32
    place = CORRUPTIONS.index("fog")
    assert torch.equal((255 * found[:, 0, 0, 0]).round(), torch.tensor([place + 60.0 + 6, place + 60.0]))


@pytest.mark.parametrize("lost", ["fog", "labels"])
def test_with_a_file_missing_all_are_generated_and_that_is_said(
    tmp_path: Path, clean: Images, arrays: np.ndarray, lost: str
) -> None:
    (tmp_path / "CIFAR-10-C" / f"{lost}.npy").unlink()
    source, remark = corruption_source(CIFAR10, clean, tmp_path)
    assert source.name == "generated"
    assert remark == f"{tmp_path / 'CIFAR-10-C'} lacks {lost}: all corruptions are generated instead"


def test_generated_images_are_those_of_corrupt(tmp_path: Path, clean: Images) -> None:
    source, remark = corruption_source(CIFAR10, clean, tmp_path)
    index = torch.tensor([2, 0])
    x, _ = clean.batch(index)
    assert (source.name, remark) == ("generated", "")
    assert torch.equal(source.images(x, "snow", 2, index, 7), corrupt(x, "snow", 2, index=index, seed=7))


def test_the_arrays_of_cifar10_are_those_of_no_other_set(tmp_path: Path, clean: Images, arrays: np.ndarray) -> None:
    facts = {field.name: getattr(CIFAR10, field.name) for field in fields(DataSpec)}
    own = GivenSpec(**facts, split_seed=0, train_checksum="")
    for other in (SPECS["cifar100"], own):
        assert corruption_source(other, clean, tmp_path)[0].name == "generated"


def test_images_that_are_corrupted_already_are_refused(tmp_path: Path, clean: Images) -> None:
    with pytest.raises(ValueError, match=r"^cifar10-c/fog/3 is corrupted already: .*--suite clean$"):
        corruption_source(spec("cifar10-c/fog/3"), clean, tmp_path)


def test_arrays_of_other_images_are_refused(tmp_path: Path, clean: Images, arrays: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"labels.npy must hold the labels of cifar10's test images"):
        corruption_source(CIFAR10, Images(clean.pixels, clean.labels.flip(0)), tmp_path)
    np.save(tmp_path / "CIFAR-10-C" / "snow.npy", np.zeros((20, 8, 8, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"snow.npy must hold uint8 images \(20, 32, 32, 3\); got uint8 \(20, 8, 8, 3\)"
    ):
        corruption_source(CIFAR10, clean, tmp_path)
