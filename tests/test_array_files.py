"""Arrays in files: nothing is made room for that is not there, and no Python object is read."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from advdpnp.array_files import read_array, read_arrays


def npy(descr: str, shape: str, data: bytes = b"", order: str = "False") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def npz(path: Path, content: bytes, packed: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as file:
        file.writestr("a.npy", content)
    return path


@pytest.mark.parametrize(
    "array",
    [
        *(np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array("x"), np.float32(3)),
        *(np.zeros((0, 512), np.float32), np.array(["a", "éb"]), np.array([True, False]), np.arange(3, dtype=">i4")),
        np.array([["\U0010ffff", ""]], dtype=">U3"),
    ],
)
def test_arrays_are_those_that_numpy_reads(array: np.ndarray, tmp_path: Path) -> None:
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", a=array, other=np.array([None]))
        found = read_arrays(tmp_path / "a.npz", ["a"])["a"]
        np.testing.assert_array_equal(found, array)
        assert found.dtype == np.asarray(array).dtype
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), array)


LIES = {
    "a trillion numbers": npy("'<f4'", "(1000000000000,)"),
    "fewer than there are": npy("'<f4'", "(1,)", bytes(8)),
    "true": npy("'<f4'", "(True, 2)", bytes(8)),
    "below none": npy("'<f4'", "(-1,)", bytes(8)),
    "without end": npy("'<f4'", "(1000000000000, 0)"),
    "texts of a gigabyte": npy("'<U250000000'", "(1000,)"),
    "nothing, often": npy("'|V0'", "(1000000000,)"),
    "Python objects": npy("'|O'", "(1,)", b"cos\nsystem\n(X\x01\0\0\0xtR."),
    "a structure": npy("[('a', '<f4')]", "(1,)", bytes(4)),
    "dates": npy("'<M8[s]'", "(1,)", bytes(8)),
    "characters that there are not": npy("'<U1'", "(1,)", b"\xff\xff\xff\x7f"),
    "a header that is code": npy("__import__('os')", "(1,)"),
    "brackets": npy("'<f4'", "(" * 500 + ")" * 500),
    "no header": b"\x93NUMPY\x01\x00\xff\xff",
    "another version": b"\x93NUMPY\x09\x00" + bytes(100),
    "a pickle": b"\x80\x04cos\nsystem\n.",
    "nothing": b"",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_is_no_plain_array_is_refused_before_there_is_room_for_it(lie: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(lie)
    npz(tmp_path / "a.npz", lie)
    tracemalloc.start()
    with pytest.raises(ValueError):
        read_array(tmp_path / "a.npy")
    with pytest.raises(ValueError):
        read_arrays(tmp_path / "a.npz", ["a"])
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_a_bomb_is_refused_unpacked_by_none_of_it(tmp_path: Path) -> None:
    zeros = io.BytesIO()
    np.save(zeros, np.zeros(100_000_000, np.uint8))
    path = npz(tmp_path / "a.npz", zeros.getvalue())
    del zeros
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="packed more than 100 times smaller than it is"):
        read_arrays(path, ["a"])
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"PK\x03\x04" * 100, b"x" * 1000])
def test_no_archive_is_a_value_error(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(damage)
    with pytest.raises(ValueError, match=r"no \.npz file"):
        read_arrays(tmp_path / "a.npz", ["a"])


def test_a_name_that_is_not_there_is_a_key_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        read_arrays(npz(tmp_path / "a.npz", npy("'<f4'", "(1,)", bytes(4))), ["b"])
