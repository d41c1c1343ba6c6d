"""Pieces give the original files bit for bit, and a damaged one is named without taking the others with it."""

import hashlib
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from advdpnp.data.download.sources import DataFile
from advdpnp.runs import write_json
from gpu import pack as pack_module
from gpu.context import Context
from gpu.gathered import stored
from gpu.pack import MANIFEST, cifar_files, pack, pack_file, travelling_bytes, unpack, unpack_file, unpack_stage
from gpu.processes import DONE, FAILED
from gpu.rehearse import write_stand_ins
from gpu.scale import MIB, REAL
from gpu.slot import Places


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return write_stand_ins(tmp_path / "files", images=7)


def test_each_piece_gives_its_file_and_the_calls_share_them(files: list[str], tmp_path: Path) -> None:
    folders = pack(files, tmp_path / "files", tmp_path / "carry", commit="abc")
    assert [folder.name for folder in folders] == ["1", "2"]
    assert all(len(stored(folder / MANIFEST)["files"]) == 3 for folder in folders)
    assert {stored(folder / MANIFEST)["commit"] for folder in folders} == {"abc"}
    for folder in folders:
        there, missing = unpack(folder, tmp_path / "data")
        assert len(there) == 3 and missing == []
    for name in files:
        assert (tmp_path / "data" / name).read_bytes() == (tmp_path / "files" / name).read_bytes()


@pytest.mark.parametrize("images", [1, 99, 100, 101])
def test_whole_and_broken_mosaics_come_back(images: int, tmp_path: Path) -> None:
    (name, *_) = write_stand_ins(tmp_path, images)
    content = (tmp_path / name).read_bytes()
    assert unpack_file(pack_file(tmp_path / name)) == content


def test_a_flipped_byte_is_named_and_the_other_files_are_written(files: list[str], tmp_path: Path) -> None:
    folder, _ = pack(files, tmp_path / "files", tmp_path / "carry")
    damaged = folder / f"{Path(files[1]).name}.npz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    there, missing = unpack(folder, tmp_path / "data")
    assert there == [files[0], files[2]] and len(missing) == 1 and missing[0].startswith(files[1])
    assert not (tmp_path / "data" / files[1]).exists()


def test_what_is_there_and_right_stays_and_what_is_wrong_is_written_anew(files: list[str], tmp_path: Path) -> None:
    folder, _ = pack(files, tmp_path / "files", tmp_path / "carry")
    unpack(folder, tmp_path / "data")
    first, second = (tmp_path / "data" / name for name in files[:2])
    second.write_bytes(b"torn")
    before = first.stat().st_mtime_ns
    unpack(folder, tmp_path / "data")
    assert first.stat().st_mtime_ns == before
    assert second.read_bytes() == (tmp_path / "files" / files[1]).read_bytes()


def test_what_is_no_cifar_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(pickle.dumps({b"data": np.zeros((2, 10), np.uint8)}, protocol=3))
    with pytest.raises(ValueError, match="rows of 3072 pixels"):
        pack_file(tmp_path / "other")


def test_files_are_checked_against_their_published_sums(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "files"
    known = [DataFile(name, 0, hashlib.md5((root / name).read_bytes()).hexdigest()) for name in files]
    monkeypatch.setattr(pack_module, "files", lambda data: [(file, None) for file in known])
    assert cifar_files("cifar10", root) == files
    (root / files[2]).write_bytes(b"another")
    with pytest.raises(ValueError, match="another MD5 sum"):
        cifar_files("cifar10", root)
    (root / files[2]).unlink()
    with pytest.raises(FileNotFoundError, match="--data-root"):
        cifar_files("cifar10", root)


def test_a_call_carries_the_checkout_without_what_git_ignores(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("/ignored/\n")
    for name, size in (("ignored/big", 1000), ("tracked", 100), ("carry/piece", 10)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / ".gitignore").write_text("/ignored/\n/carry/\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert travelling_bytes(tmp_path, tmp_path / "carry") == 110 + len("/ignored/\n/carry/\n")


@pytest.mark.data
@pytest.mark.slow
def test_a_real_batch_comes_back_and_three_fit_one_call(real_data: Path) -> None:
    path = real_data / "cifar-10-batches-py" / "data_batch_1"
    piece = pack_file(path)
    assert hashlib.md5(unpack_file(piece)).hexdigest() == "c99cafc152244af753f735de768cd75f"
    # The checkout takes about 6 MiB of the 60.
    assert 3 * len(piece) < 52 * MIB


def test_the_stage_says_what_is_lacking_still(files: list[str], tmp_path: Path) -> None:
    folders = pack(files, tmp_path / "files", tmp_path / "carry")
    expected = [file.path for file, _ in pack_module.files("cifar10")]
    for carry, status, there in ((None, FAILED, []), (folders[0], DONE, files[:3]), (folders[1], DONE, files[3:])):
        context = Context("unpack", Places(tmp_path / "work", tmp_path / "out", carry), REAL, 0.0, {})
        assert unpack_stage(context) == status
        # Noise is not CIFAR-10: of the real set everything is lacking.
        assert context.found["files"] == there and context.found["lacking"] == expected


def test_a_call_without_pieces_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path, tmp_path / "data")
    write_json(tmp_path / MANIFEST, {"files": {"a": {"packed": "a.npz", "sha256": ""}}})
    there, missing = unpack(tmp_path, tmp_path / "data")
    assert there == [] and "a.npz" in missing[0]
