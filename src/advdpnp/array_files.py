"""Arrays of numpy in files that anyone may have made: headers are read first, and hold to what the file has."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advdpnp.bounded_files import read_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Of an archive's file, and what its arrays may take unpacked: so many times the file, and some more.
_MOST_PACKED = 1 << 31
_TIMES, _ALLOWANCE = 100, 1 << 26
# Side of an array without elements.
_LONGEST = 1 << 16
_LAST_CHARACTER = 0x10FFFF


def read_array(path: Path, most: int = 1 << 30) -> "NDArray[Any]":
    """The array of an .npy file of at most so many bytes, read-only; no Python objects.

    Raises:
        ValueError: damaged, larger, or no array of plain values. OSError: it cannot be read.
    """
    return _array(io.BytesIO(read_bytes(path, most)))


def read_arrays(path: Path, names: Iterable[str]) -> "dict[str, NDArray[Any]]":
    """The named arrays of an .npz file, read-only; no Python objects, and no more than a file of its size may hold.

    Raises:
        KeyError: there is none of a name. ValueError: damaged, or packed tighter than anything that we write.
        OSError: it cannot be read.
    """
    content = read_bytes(path, _MOST_PACKED)
    left, found = _TIMES * len(content) + _ALLOWANCE, {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in names:
                part = archive.getinfo(f"{name}.npy")
                left -= part.file_size
                if left < 0:
                    raise ValueError(f"{name} is packed more than {_TIMES} times smaller than it is")
                found[name] = _array(io.BytesIO(archive.read(part)))
    # zipfile raises NotImplementedError for a packing that it does not know.
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, struct.error) as error:
        raise ValueError(f"no .npz file ({error})") from None
    return found


def _array(file: io.BytesIO) -> "NDArray[Any]":
    import numpy as np

    header = _header(file)
    if header is None:
        raise ValueError("no array of numpy")
    shape, column_major, kind = header
    rest = file.getbuffer()[file.tell() :]
    # Before anything is made room for. Sides of an array without elements are nothing to be counted through.
    plain = kind.kind in "biufU" and kind.itemsize and kind.subdtype is None
    # To Python, True is the number 1, and to numpy no side.
    small = all(type(side) is int and 0 <= side <= max(len(rest), _LONGEST) for side in shape)
    if not (plain and small) or prod(shape) * kind.itemsize != len(rest):
        raise ValueError(f"{len(rest)} bytes are no array of {kind} of the shape {shape}")
    # numpy takes any number for a character, and fails when it is asked for the text.
    if kind.kind == "U" and np.any(np.frombuffer(rest, np.dtype("u4").newbyteorder(kind.byteorder)) > _LAST_CHARACTER):
        raise ValueError("its texts have characters that there are not")
    return np.frombuffer(rest, kind).reshape(shape, order="F" if column_major else "C")


def _header(file: io.BytesIO) -> "tuple[tuple[int, ...], bool, np.dtype[Any]] | None":
    """Shape, order and type; None where there are none that numpy can read."""
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        return None if read is None else read(file)
    except Exception:  # a crafted header fails in any way that numpy's parser can
        return None
