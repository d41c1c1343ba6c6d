import dataclasses
import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp.data import SPECS, DataSpec, Images, data_root, load


@pytest.fixture
def images() -> Images:
    pixels = torch.arange(4 * 2 * 3 * 3, dtype=torch.uint8).reshape(4, 2, 3, 3)
    return Images(pixels, torch.tensor([3, 1, 2, 0]), levels=100)


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:16]


def test_select_takes_images_and_labels_in_the_order_of_the_index(images: Images) -> None:
    chosen = images.select(torch.tensor([2, 0, 2]))
    assert len(chosen) == 3
    assert chosen.labels.tolist() == [2, 3, 2]
    assert torch.equal(chosen.pixels, torch.stack([images.pixels[2], images.pixels[0], images.pixels[2]]))
    assert chosen.levels == 100


def test_a_batch_is_the_bytes_over_the_levels(images: Images) -> None:
    x, y = images.batch(torch.tensor([3, 1]))
    assert x.dtype == torch.float32
    assert y.tolist() == [0, 1]
    expected = images.pixels[[3, 1]].numpy().astype(np.float32) / np.float32(100)
    np.testing.assert_array_equal(x.numpy(), expected)


def test_the_highest_level_is_one_and_every_byte_stays_in_the_unit_interval() -> None:
    every = Images(torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16), torch.zeros(1, dtype=torch.int64))
    x, _ = every.batch(torch.tensor([0]))
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert x.unique().numel() == 256


def test_moving_keeps_everything_but_the_device(images: Images) -> None:
    moved = images.to("meta")
    assert (moved.pixels.device.type, moved.labels.device.type, moved.levels) == ("meta", "meta", 100)
    assert moved.pixels.shape == images.pixels.shape


def test_the_root_is_the_argument_then_the_variable_then_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/reader")
    monkeypatch.setenv("ADVDPNP_DATA", "/from/variable")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert data_root("~/mine") == Path("/home/reader/mine")
    assert data_root() == Path("/from/variable")
    monkeypatch.setenv("ADVDPNP_DATA", "")
    assert data_root() == Path("/cache/advdpnp")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_root() == Path("/home/reader/.cache/advdpnp")


def test_the_variable_is_where_load_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "cifar-100-python")):
        load("cifar100", "test")


def test_a_split_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be train or test; got 'validation'"):
        load("digits", "validation")  # type: ignore[arg-type]


def test_a_set_without_training_images_says_so() -> None:
    with pytest.raises(ValueError, match=r"cifar10-c/fog/3 has test images only; got split 'train'"):
        load("cifar10-c/fog/3", "train")


def test_facts_alone_are_read_as_the_named_set_of_their_name() -> None:
    facts = DataSpec(**{field.name: getattr(SPECS["digits"], field.name) for field in dataclasses.fields(DataSpec)})
    assert torch.equal(load(facts, "test").pixels, load("digits", "test").pixels)


def test_digits_are_all_the_images_of_scikit_learn_once_with_their_labels() -> None:
    from sklearn.datasets import load_digits

    def rows(pixels: np.ndarray, labels: np.ndarray) -> Counter[bytes]:
        return Counter(bytes([*image.reshape(-1), label]) for image, label in zip(pixels, labels, strict=True))

    train, test = load("digits", "train"), load("digits", "test")
    assert train.pixels.shape == (1437, 1, 8, 8)
    assert test.pixels.shape == (360, 1, 8, 8)
    assert train.levels == test.levels == 16
    assert train.pixels.max() == 16
    published = load_digits()
    ours = rows(train.pixels.numpy(), train.labels.numpy()) + rows(test.pixels.numpy(), test.labels.numpy())
    assert ours == rows(published.images.astype(np.uint8), published.target)


def test_the_split_of_the_digits_has_every_class_in_proportion_and_never_changes() -> None:
    train, test = load("digits", "train"), load("digits", "test")
    expected = torch.bincount(train.labels).add(torch.bincount(test.labels)) * 360 / 1797
    assert (torch.bincount(test.labels) - expected).abs().max() < 1
    assert [digest(part) for images in (train, test) for part in (images.pixels, images.labels)] == [
        "9c44c47e107010b6",
        "63d53d5544f34d67",
        "299b2e4aee4a4498",
        "d97bcd375578dbde",
    ]


def test_reading_digits_imports_no_heavy_library() -> None:
    code = (
        "import sys, advdpnp.data; advdpnp.data.load('digits', 'test');"
        "print([m for m in ('sklearn', 'scipy', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_digits_are_the_same_where_scikit_learn_keeps_no_such_file(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load("digits", "test").batch(torch.arange(360))
    monkeypatch.setattr("advdpnp.data.readers.find_spec", lambda name: None)
    found = load("digits", "test").batch(torch.arange(360))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
