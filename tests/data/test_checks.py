import gzip
import hashlib
from pathlib import Path

import pytest

from advdpnp.data import check, checks, describe


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
    monkeypatch.setitem(checks._MD5, "mnist", {"file": hashlib.md5(b"whole").hexdigest()})
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


def test_digits_have_no_file_and_say_where_they_are() -> None:
    assert check("digits", Path("/nowhere")) == []
    assert describe("digits")["files"] == "embedded in scikit-learn"


def test_a_description_has_sizes_shape_classes_eps_and_files() -> None:
    facts = describe("cifar10")
    assert facts["images"] == "50000 training, 10000 test, 3x32x32"
    assert facts["classes"].startswith("10: airplane, automobile")
    assert [facts["eps"], describe("mnist")["eps"]] == ["8/255, l_inf", "0.3, l_inf"]
    assert "cifar-10-batches-py/test_batch" in facts["files"]


@pytest.mark.parametrize("ask", [describe, lambda name: check(name, Path())])
def test_an_unknown_name_is_refused(ask: object) -> None:
    with pytest.raises(ValueError, match="unknown data set 'svnh'"):
        ask("svnh")  # type: ignore[operator]
