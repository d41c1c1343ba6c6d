"""Stored JSON says when it is not what was written; files without a checksum are read, and one warning counts them."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from advdpnp.checksums import DamagedError, UncheckedWarning, one_warning, sealed
from advdpnp.runs import Run, checked, read_json, write_json

CONTENT = {"n": 3, "accuracy": 0.1, "name": "café", "inner": {"b": [1, None, True], "a": {"10": 1, "9": 2}}}


def rewritten(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_the_checksum_is_the_sha256_of_the_other_entries_and_comes_first(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", CONTENT)
    # Independently: keys sorted, spaces of Python's json, ASCII.
    text = '{"accuracy": 0.1, "inner": {"a": {"10": 1, "9": 2}, "b": [1, null, true]}, "n": 3, "name": "caf\\u00e9"}'
    first = (tmp_path / "a.json").read_text().splitlines()[1]
    assert first == f' "sha256": "{hashlib.sha256(text.encode()).hexdigest()}",'
    assert read_json(tmp_path / "a.json") == CONTENT


def test_keys_that_are_numbers_in_python_are_sealed_as_the_texts_that_they_become(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"counts": {10: 1, 9: (2, 3)}})
    assert read_json(tmp_path / "a.json") == {"counts": {"10": 1, "9": [2, 3]}}


def test_other_spaces_and_another_order_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True, ensure_ascii=False))
    assert read_json(path) == CONTENT


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content | {"n": 4},
        lambda content: content | {"accuracy": 0.1000001},
        lambda content: content | {"n": 3.0},
        lambda content: content | {"more": 1},
        lambda content: {key: value for key, value in content.items() if key != "n"},
        lambda content: content | {"sha256": "0" * 64},
        lambda content: content | {"sha256": None},
    ],
)
def test_another_content_is_one_line_with_file_and_cure(change: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    rewritten(path, change)
    with pytest.raises(DamagedError, match=r"a\.json is damaged \(expected the sha256 .*, got .*\): .*remove") as error:
        read_json(path)
    assert "\n" not in str(error.value)


def test_a_checksum_whose_own_name_is_damaged_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    path.write_text(path.read_text().replace("sha256", "rha256"))
    with pytest.raises(DamagedError, match="expected the entry 'sha256', got 'rha256'"):
        read_json(path)


def test_an_error_of_a_library_about_bytes_names_the_file_and_one_of_the_system_stays(tmp_path: Path) -> None:
    def fails(error: OSError) -> None:
        raise error

    # As bz2 says it of bytes that are not its own.
    with pytest.raises(ValueError, match=r"a\.npz is damaged .*Invalid data stream"):
        checked(tmp_path / "a.npz", "make it again", lambda: fails(OSError("Invalid data stream")))
    with pytest.raises(PermissionError):
        checked(tmp_path / "a.npz", "make it again", lambda: fails(PermissionError(13, "denied", "a.npz")))


def test_whoever_edits_a_file_removes_one_line_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, CONTENT)
    lines = path.read_text().replace('"n": 3', '"n": 5').splitlines()
    path.write_text("\n".join(line for line in lines if '"sha256"' not in line))
    with pytest.warns(UncheckedWarning, match=r"a\.json has no checksum"):
        assert read_json(path) == CONTENT | {"n": 5}


def test_many_files_without_a_checksum_are_one_warning(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.json").write_text("{}")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with one_warning(), one_warning():
            for path in [*sorted(tmp_path.iterdir()), tmp_path / "0.json"]:
                assert read_json(path) == {}
    (one,) = said
    assert str(one.message).startswith("3 files have no checksum, such as")


def test_nothing_of_that_name_can_be_stored() -> None:
    with pytest.raises(ValueError, match="'sha256' is the checksum of a stored object"):
        sealed({"sha256": "x"})


def test_lines_of_a_log_are_checked_one_by_one(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for epoch in (1, 2, 3):
        run.append_epoch({"epoch": epoch, "loss": {"total": float("nan") if epoch == 2 else 0.5}})
    whole = run.log_path.read_text()
    assert [line["epoch"] for line in run.epochs()] == [1, 2, 3]
    run.log_path.write_text(whole.replace("0.5", "0.6", 1))
    with pytest.raises(ValueError, match=r"train\.jsonl is damaged in line 1 .*: restore it"):
        run.epochs()
    # A last line that ends was written whole.
    run.log_path.write_text(whole.replace("0.5}}\n", "\n").replace("\n\n", "\n"))
    with pytest.raises(ValueError, match=r"is damaged in line 1"):
        run.epochs()
    run.log_path.write_text(whole[:-20])
    assert [line["epoch"] for line in run.epochs()] == [1, 2]
    lines = whole.splitlines(keepends=True)
    run.log_path.write_text(lines[0] + lines[2])
    run.keep_epochs(2)
    assert [line["epoch"] for line in run.epochs()] == [1]
