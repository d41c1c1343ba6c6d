import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from advdpnp.data.formats.matlab import read_bytes_arrays

DRAW = np.random.default_rng(0)
X, Y = DRAW.integers(0, 256, (4, 5, 3, 20), np.uint8), DRAW.integers(1, 11, (20, 1)).astype(np.uint8)
SHAPES = {"X": X.shape, "y": Y.shape}


def written(path: Path, compressed: bool = True, **arrays: object) -> bytes:
    savemat(path, {"X": X, "y": Y} | arrays, do_compression=compressed)
    return path.read_bytes()


def fails(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read_bytes_arrays(path, SHAPES)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_are_those_that_scipy_reads(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    written(path, compressed, other=np.arange(5.0), name="text", nested={"a": [1, 2]})
    for found, name in zip(read_bytes_arrays(path, SHAPES), SHAPES, strict=True):
        np.testing.assert_array_equal(found, loadmat(path)[name])


def test_a_short_element_is_read_from_its_tag(tmp_path: Path) -> None:
    # scipy writes up to four bytes of data inside the tag.
    savemat(tmp_path / "a.mat", {"y": Y[:3]})
    (found,) = read_bytes_arrays(tmp_path / "a.mat", {"y": (3, 1)})
    np.testing.assert_array_equal(found, Y[:3])


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"X": X[:, :, :, :19]}, "got X (4, 5, 3, 19), y (20, 1)"),
        ({"X": np.repeat(X, 99, 3)}, "got X (4, 5, 3, 1980), y (20, 1)"),
        ({"X": X.astype(np.float64)}, "got X not of bytes"),
        ({"X": X.astype(bool)}, "got X not of bytes"),
        ({"X": X + 0j}, "got X not of bytes"),
        ({"X": np.array([X, "object"], object)}, "got X not of bytes"),
        ({"X": {"field": X}}, "got X not of bytes"),
        ({"y": Y.T}, "y (1, 20)"),
        ({"y": "text"}, "y not of bytes"),
    ],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_other_arrays_are_told(tmp_path: Path, arrays: dict[str, object], says: str, compressed: bool) -> None:
    written(tmp_path / "a.mat", compressed, **arrays)
    assert says in fails(tmp_path / "a.mat")


def test_a_missing_array_is_told(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"X": X})
    assert "got X (4, 5, 3, 20), y missing" in fails(tmp_path / "a.mat")


@pytest.mark.parametrize("first", [b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", b"\x89HDF\r\n\x1a\n".ljust(128)])
def test_a_file_of_version_7_3_is_told_as_that(tmp_path: Path, first: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(first + bytes(384) + b"\x89HDF")
    assert "got a file of version 7.3 (HDF5)" in fails(tmp_path / "a.mat")


@pytest.mark.parametrize("content", [b"", b"x", b"text" * 200, bytes(200), b"<html>404</html>"])
def test_a_foreign_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    assert "a foreign file" in fails(tmp_path / "a.mat")


@pytest.mark.parametrize("compressed", [True, False])
def test_every_truncation_is_refused(tmp_path: Path, compressed: bool) -> None:
    raw = written(tmp_path / "a.mat", compressed)
    for length in range(0, len(raw) - 8, 7):
        (tmp_path / "a.mat").write_bytes(raw[:length])
        fails(tmp_path / "a.mat")


@pytest.mark.parametrize("compressed", [True, False])
def test_damage_is_one_line_or_leaves_arrays_of_the_shape(tmp_path: Path, compressed: bool) -> None:
    # scipy's own reader does not survive this: some of these files end the process.
    raw, path, draw = written(tmp_path / "a.mat", compressed), tmp_path / "a.mat", random.Random(0)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(raw)
        for _ in range(draw.choice([1, 2, 8])):
            damaged[draw.randrange(min(len(raw), 400))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            assert [array.shape for array in read_bytes_arrays(path, SHAPES)] == list(SHAPES.values())
        except ValueError as error:
            assert "MATLAB 5 file" in str(error)
            refused += 1
    assert refused > 500


def test_an_array_of_absurdly_many_dimensions_is_refused(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    about = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<100i", *[1] * 100)) + element(1, b"X")
    matrix = element(14, about + element(2, b"\1"))
    (tmp_path / "a.mat").write_bytes(b" " * 124 + b"\0\1IM" + matrix)
    assert "a damaged file (1 bytes for an array of shape (1, 1" in fails(tmp_path / "a.mat")


def test_a_bomb_is_inflated_no_further_than_the_array_that_is_wanted(tmp_path: Path) -> None:
    about = (
        struct.pack("<6I", 6, 8, 9, 0, 5, 16) + struct.pack("<4i", *X.shape) + struct.pack("<IIII", 1, 1, ord("X"), 0)
    )
    bomb = zlib.compress(struct.pack("<II", 14, 2**31) + about + struct.pack("<II", 2, 2**31) + bytes(200_000_000), 9)
    (tmp_path / "a.mat").write_bytes(b" " * 124 + b"\0\1IM" + struct.pack("<II", 15, len(bomb)) + bomb)
    tracemalloc.start()
    assert "a truncated file" in fails(tmp_path / "a.mat")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_arrays_that_nobody_asks_for_are_not_unpacked(tmp_path: Path) -> None:
    # Forty of 500 kB each, in half a kilobyte: each was kept under its name.
    arrays = {f"other{number}": np.zeros((5, 100_000), np.uint8) for number in range(40)}
    small = {"X": np.zeros((5, 100_000), np.uint8), "y": Y}
    savemat(tmp_path / "a.mat", arrays | small, do_compression=True)
    tracemalloc.start()
    found = read_bytes_arrays(tmp_path / "a.mat", {"X": (5, 100_000), "y": Y.shape})
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()
    assert found[0].shape == (5, 100_000)


def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    raw = written(tmp_path / "a.mat")
    (tmp_path / "a.mat").write_bytes(raw + raw[128:])
    assert "two arrays X" in fails(tmp_path / "a.mat")


def test_a_file_larger_than_its_arrays_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.mat").open("wb") as file:
        file.truncate(1 << 40)
    assert "at most" in fails(tmp_path / "a.mat")
