import gzip
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp.data import SPECS, DataSpec, spec
from advdpnp.data.datasets import read
from advdpnp.data.readers import read_cifar10_c

from .conftest import (
    CIFAR_SHAPE,
    Writer,
    cifar,
    idx,
    python2,
    python3,
    small,
    write_cifar10,
    write_corrupted,
    write_mnist,
    write_svhn,
)

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
        ("svhn", "svhn", "train_32x32.mat"),
    ],
)
def test_a_missing_folder_is_named_with_its_files_and_the_cure(
    tmp_path: Path, name: str, folder: str, file: str
) -> None:
    message = fails(name, tmp_path, FileNotFoundError)
    for part in (str(tmp_path / folder), file, "--data-root", "$ADVDPNP_DATA", f"data download {name}`"):
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
        ({b"labels": [0.0, 1.0, 2.0, 3.0]}, "4 integer labels; got [0.0, 1.0, 2.0, 3.0]"),
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


@pytest.mark.parametrize("compressed", [True, False])
def test_svhn_images_are_upright_and_class_ten_is_the_digit_zero(tmp_path: Path, compressed: bool) -> None:
    x, y = write_svhn(tmp_path, compressed)
    images = read(small("svhn"), "train", tmp_path)
    assert images.pixels.shape == (20, *CIFAR_SHAPE)
    assert all(
        images.pixels[n, c, h, w] == x[h, w, c, n]
        for n in (0, 7, 19)
        for c in range(3)
        for h in range(4)
        for w in (0, 3)
    )
    assert 10 in y and images.labels.tolist() == [0 if label == 10 else label for label in y[:, 0]]


@pytest.mark.parametrize("label", [0, 11, 255])
def test_svhn_labels_out_of_range_are_refused(tmp_path: Path, label: int) -> None:
    write_svhn(tmp_path, label=label)
    assert "labels in [1, 10]; got" in fails("svhn", tmp_path)


def corrupted(name: str) -> DataSpec:
    """The facts of a corruption, for files of five severities with four images each."""
    severities = 1 if name.count("/") == 2 else 5
    return replace(spec(name), image_shape=CIFAR_SHAPE, test_size=4 * severities)


def test_a_severity_is_its_fifth_of_the_file_and_none_is_all(tmp_path: Path) -> None:
    x, y = write_corrupted(tmp_path)
    for severity in range(1, 6):
        images = read(corrupted(f"cifar10-c/fog/{severity}"), "test", tmp_path)
        part = x[4 * (severity - 1) : 4 * severity]
        np.testing.assert_array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), part)
        assert images.labels.tolist() == y[:4].tolist()
    whole = read(corrupted("cifar10-c/fog"), "test", tmp_path)
    np.testing.assert_array_equal(whole.pixels.permute(0, 2, 3, 1).numpy(), x)
    assert whole.labels.tolist() == y.tolist()


def test_only_the_wanted_severity_leaves_the_disk(tmp_path: Path) -> None:
    # A sparse file of 250 MB; one severity of it has 50.
    (tmp_path / "CIFAR-10-C").mkdir()
    np.lib.format.open_memmap(tmp_path / "CIFAR-10-C/fog.npy", "w+", np.uint8, (20, 2048, 2048, 3))
    np.save(tmp_path / "CIFAR-10-C/labels.npy", np.zeros(20, np.uint8))
    facts = replace(corrupted("cifar10-c/fog/2"), image_shape=(3, 2048, 2048))
    tracemalloc.start()
    pixels, _ = read_cifar10_c(facts, "test", tmp_path)
    assert pixels.nbytes <= tracemalloc.get_traced_memory()[1] < 1.1 * pixels.nbytes
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("fog", np.zeros((20, 4, 4, 3), np.float32), "got float32 (20, 4, 4, 3)"),
        ("fog", np.zeros((19, 4, 4, 3), np.uint8), "got uint8 (19, 4, 4, 3)"),
        ("fog", np.array([{}], object), "npy file of numbers"),
        ("labels", np.arange(20) % 10, "the same 4 labels for each severity"),
        ("labels", np.full(20, 10), "labels in [0, 9]; got 10 to 10"),
        ("labels", np.zeros(20), "20 integer labels; got"),
        ("labels", np.zeros((20, 1), np.uint8), "20 integer labels; got"),
        ("labels", np.array([{}], object), "npy file of numbers"),
    ],
)
def test_corrupted_images_that_differ_from_the_spec_are_refused(
    tmp_path: Path, name: str, array: np.ndarray, says: str
) -> None:
    write_corrupted(tmp_path)
    path = tmp_path / "CIFAR-10-C" / f"{name}.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(ValueError) as caught:
        read(corrupted("cifar10-c/fog/3"), "test", tmp_path)
    assert says in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: raw[:50], lambda raw: b"", lambda raw: b"PK" + raw]
)
def test_a_damaged_npy_file_is_refused(tmp_path: Path, damage: Damage) -> None:
    write_corrupted(tmp_path)
    path = tmp_path / "CIFAR-10-C" / "fog.npy"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"npy file of numbers; got a damaged or foreign one"):
        read(corrupted("cifar10-c/fog"), "test", tmp_path)


def test_a_corruption_that_is_missing_is_named(tmp_path: Path) -> None:
    write_corrupted(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"got no snow.npy: .*data download cifar10-c`"):
        read(corrupted("cifar10-c/snow/1"), "test", tmp_path)


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.unlink()
    with gzip.open(path.with_name(path.name + ".gz"), "wb", compresslevel=1) as file:
        file.write(whole)
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    message = fails("mnist", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "416 bytes in all; got more than 416 bytes" in message
    assert peak < 8 << 20
