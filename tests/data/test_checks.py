import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from advdpnp.data import SPECS, check
from advdpnp.data.corruptions import CORRUPTIONS
from advdpnp.data.download.sources import Archive, DataFile
from advdpnp.data.formats.restricted_pickle import CURE


def test_missing_files_are_listed_with_what_is_expected(tmp_path: Path) -> None:
    found = check("cifar10", tmp_path)
    assert [file.path.name for file in found] == [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    assert all(file.actual is None and not file.ok and len(file.expected) == 32 for file in found)
    assert all(file.text().startswith("missing") and "--data-root" in file.text() for file in found)


def test_a_damaged_file_is_told_with_both_sums(tmp_path: Path) -> None:
    path = tmp_path / "cifar-100-python" / "train"
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    train, test = check("cifar100", tmp_path)
    assert train.actual == hashlib.md5(b"damaged").hexdigest()
    assert train.text().startswith("damaged") and train.expected in train.text() and train.actual in train.text()
    assert test.actual is None


def test_a_file_with_the_published_sum_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"whole")
    whole = DataFile("file", 5, hashlib.md5(b"whole").hexdigest())
    archives = (Archive("archive.tar", 0, "", (), (whole,)),)
    monkeypatch.setitem(SPECS, "mnist", replace(SPECS["mnist"], archives=archives))
    (file,) = check("mnist", tmp_path)
    assert file.ok
    assert file.text() == f"ok       {tmp_path / 'file'}"


def test_a_gzipped_file_stands_for_a_plain_one_that_is_missing(tmp_path: Path) -> None:
    plain = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    plain.parent.mkdir(parents=True)
    gzipped = plain.with_name(plain.name + ".gz")
    gzipped.write_bytes(gzip.compress(b"labels"))
    alone = {file.path: file for file in check("mnist", tmp_path)}
    assert alone[gzipped].actual == hashlib.md5(gzipped.read_bytes()).hexdigest()
    plain.write_bytes(b"labels")
    both = {file.path: file for file in check("mnist", tmp_path)}
    assert gzipped not in both
    assert both[plain].expected != alone[gzipped].expected


def test_corrupted_images_are_told_by_their_layout(tmp_path: Path) -> None:
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    # A sparse file: a header, and zeros up to the size that it promises.
    np.lib.format.open_memmap(folder / "fog.npy", "w+", np.uint8, (50_000, 32, 32, 3))
    np.save(folder / "snow.npy", np.zeros((5, 32, 32, 3), np.uint8))
    np.save(folder / "frost.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "labels.npy", np.zeros(50_000, np.uint8))
    found = {file.path.stem: file for file in check("cifar10-c", tmp_path)}
    assert list(found) == [*CORRUPTIONS, "labels"]
    assert found["fog"].ok
    assert found["snow"].text().endswith("array uint8 (50000, 32, 32, 3), got uint8 (5, 32, 32, 3); " + CURE)
    assert found["frost"].actual == "no .npy file of numbers"
    assert found["contrast"].actual is None and not found["contrast"].ok
    assert not found["labels"].ok and hashlib.md5(bytes(50_000)).hexdigest() in found["labels"].text()


def test_one_corruption_needs_its_own_file_and_the_labels(tmp_path: Path) -> None:
    assert [file.path.name for file in check("cifar10-c/fog/3", tmp_path)] == ["fog.npy", "labels.npy"]


def test_digits_have_no_file() -> None:
    assert check("digits", Path("/nowhere")) == []


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown data set 'svnh'"):
        check("svnh", Path())
