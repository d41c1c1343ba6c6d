import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp.data import SPECS
from advdpnp.data.datasets import read

from .conftest import CIFAR_SHAPE, Writer, cifar, idx, python2, python3, small, write_cifar10, write_mnist

Damage = Callable[[bytes], bytes]


def fails(name: str, root: Path, error: type[Exception] = ValueError) -> str:
    with pytest.raises(error) as caught:
        read(small(name), "train", root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("writer", [python2, python3])
def test_cifar10_training_images_are_the_five_batches_in_order(tmp_path: Path, writer: Writer) -> None:
    *batches, test = write_cifar10(tmp_path, writer)
    images = read(small("cifar10"), "train", tmp_path)
    expected = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, *CIFAR_SHAPE)
    np.testing.assert_array_equal(images.pixels.numpy(), expected)
    assert images.labels.tolist() == [label for batch in batches for label in batch[b"labels"]]
    assert (images.pixels.dtype, images.labels.dtype, images.levels) == (torch.uint8, torch.int64, 255)
    assert read(small("cifar10"), "test", tmp_path).labels.tolist() == test[b"labels"]


def test_cifar100_labels_are_the_fine_ones(tmp_path: Path) -> None:
    content = cifar(6, seed=0, key=b"fine_labels") | {b"coarse_labels": [0] * 6}
    content[b"fine_labels"] = [99, 0, 50, 3, 2, 1]
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python" / "test").write_bytes(python3(content))
    images = read(small("cifar100"), "test", tmp_path)
    assert images.labels.tolist() == [99, 0, 50, 3, 2, 1]
    np.testing.assert_array_equal(images.pixels.flatten(1).numpy(), content[b"data"])


@pytest.mark.parametrize("gzipped", [[], ["images-idx3"], ["images-idx3", "labels-idx1"]])
def test_mnist_is_read_plain_or_gzipped(tmp_path: Path, gzipped: list[str]) -> None:
    pixels, labels = write_mnist(tmp_path)
    for part in gzipped:
        plain = tmp_path / "MNIST" / "raw" / f"train-{part}-ubyte"
        plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    images = read(small("mnist"), "train", tmp_path)
    np.testing.assert_array_equal(images.pixels[:, 0].numpy(), pixels)
    assert images.labels.tolist() == labels.tolist()
    images.pixels.add_(1)  # its memory is its own: a file's bytes could not be written


def test_a_plain_mnist_file_is_preferred_to_a_gzipped_one(tmp_path: Path) -> None:
    pixels, _ = write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    np.testing.assert_array_equal(read(small("mnist"), "train", tmp_path).pixels[:, 0].numpy(), pixels)


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("cifar10", "cifar-10-batches-py", "data_batch_1"),
        ("cifar100", "cifar-100-python", "train"),
        ("mnist", "MNIST/raw", "train-images-idx3-ubyte"),
    ],
)
def test_a_missing_folder_is_named_with_its_files_and_the_cure(
    tmp_path: Path, name: str, folder: str, file: str
) -> None:
    message = fails(name, tmp_path, FileNotFoundError)
    for part in (str(tmp_path / folder), file, "--data-root", "$ADVDPNP_DATA"):
        assert part in message
    assert (".gz" in message) == (name == "mnist")


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    assert "got no data_batch_3:" in fails("cifar10", tmp_path, FileNotFoundError)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({b"data": np.zeros((3, 48), np.uint8)}, "data of shape (4, 48); got (3, 48)"),
        ({b"data": np.zeros((4, 47), np.uint8)}, "data of shape (4, 48); got (4, 47)"),
        ({b"data": [1, 2]}, "got list"),
        ({b"labels": [0, 1, 2]}, "4 integer labels; got int64 of shape (3,)"),
        ({b"labels": [0, 1, 2, 10]}, "labels in [0, 9]; got 0 to 10"),
        ({b"labels": [0, 1, 2, -1]}, "labels in [0, 9]; got -1 to 2"),
        ({b"labels": [0, 1, 2, [3]]}, "4 integer labels"),
        ({b"labels": None}, "4 integer labels"),
    ],
)
def test_a_batch_that_differs_from_the_spec_is_refused(tmp_path: Path, change: dict[bytes, object], says: str) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(python3(cifar(4, seed=0) | change))
    message = fails("cifar10", tmp_path)
    assert says in message
    assert str(path) in message


def test_a_truncated_batch_is_refused(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_5"
    path.write_bytes(path.read_bytes()[:-20])
    assert str(path) in fails("cifar10", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: raw[:3],
        lambda raw: b"",
        lambda raw: b"\0\0\x09" + raw[3:],
        lambda raw: idx(np.zeros((20, 5, 5), np.uint8)),
    ],
    ids=["short", "long", "in the header", "empty", "magic", "shape"],
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_an_idx_file_that_differs_from_the_spec_is_refused(tmp_path: Path, damage: Damage, gzipped: bool) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    damaged = damage(path.read_bytes())
    if gzipped:
        path.unlink()
        path = path.with_name(path.name + ".gz")
        damaged = gzip.compress(damaged)
    path.write_bytes(damaged)
    message = fails("mnist", tmp_path)
    assert "idx file of bytes of shape (20, 5, 4), 416 bytes" in message
    assert str(path) in message


@pytest.mark.parametrize(
    "damage",
    [lambda raw: raw[:-9], lambda raw: b"", lambda raw: b"text", lambda raw: raw[:30] + b"\xff" + raw[31:]],
    ids=["short", "empty", "no gzip", "one byte"],
)
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: Damage) -> None:
    write_mnist(tmp_path)
    plain = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    gzipped = plain.with_name(plain.name + ".gz")
    gzipped.write_bytes(damage(gzip.compress(plain.read_bytes())))
    plain.unlink()
    assert str(gzipped) in fails("mnist", tmp_path)


def test_mnist_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.full(20, 10, np.uint8)))
    assert "labels in [0, 9]; got 10 to 10" in fails("mnist", tmp_path)


def test_a_small_file_does_not_pass_for_the_published_set(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    with pytest.raises(ValueError, match=r"data of shape \(10000, 3072\)"):
        read(SPECS["cifar10"], "test", tmp_path)


def test_digits_of_another_size_keep_every_image_once() -> None:
    facts = replace(SPECS["digits"], train_size=1697, test_size=100)
    train, test = (read(facts, split, Path()) for split in ("train", "test"))
    assert (len(train), len(test)) == (1697, 100)
