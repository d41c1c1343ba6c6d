"""MATLAB files (version 5) of bytes, as SVHN comes in.

Not read with scipy, whose reader crashes the process on some damaged files.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Set
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advdpnp.bounded_files import read_bytes
from advdpnp.data.formats.restricted_pickle import CURE

# Types of elements, and the class of byte arrays, in MathWorks' "MAT-File Format", chapter 1.
_UINT8, _MATRIX, _COMPRESSED = 2, 14, 15
_UINT8_CLASS = 9
_HEADER = 128
_VERSION_5, _VERSION_7_3 = b"\x00\x01IM", b"\x00\x02IM"
# What an array's flags, dimensions and name may take besides its bytes.
_ABOUT = 1024
# What a file may have besides the arrays that are asked for, and how many arrays.
_REST, _MOST_ELEMENTS = 1 << 22, 10_000
# numpy has no array of more than 64.
_DIMENSIONS = 32


def read_bytes_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> list[NDArray[np.uint8]]:
    """The named uint8 arrays of a MATLAB file.

    Args:
        path: the file.
        shapes: the shape that each array must have, by its name.
    Returns:
        The arrays, read-only, in the order of `shapes`.
    Raises:
        ValueError: the file is damaged, of another version, or holds other arrays.
    """
    found: dict[str, NDArray[np.uint8] | str] = {}
    try:
        found = _arrays(path, shapes)
        got = ", ".join(f"{name} {_described(found.get(name, 'missing'))}" for name in shapes)
    except _Unreadable as error:
        got = str(error)
    expected = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if got != expected:
        raise ValueError(f"{path} must be a MATLAB 5 file of byte arrays {expected}; got {got}: {CURE}")
    return [array for name in shapes if not isinstance(array := found[name], str)]


class _Unreadable(Exception):
    """Why a file cannot be read; the message says what was found instead."""


def _element(content: memoryview, start: int) -> tuple[int, memoryview, int]:
    """Type and data of the element at `start`, and where the next one is."""
    if start + 8 > len(content):
        raise _Unreadable("a truncated file")
    kind, size = struct.unpack_from("<II", content, start)
    if kind >> 16:  # the short form: up to four bytes in the tag itself
        kind, size, begin, following = kind & 0xFFFF, kind >> 16, start + 4, start + 8
    else:
        begin = start + 8
        following = begin + size + (0 if kind == _COMPRESSED else -size % 8)
    if begin + size > len(content):
        raise _Unreadable("a truncated file")
    return kind, content[begin : begin + size], following


def _inflate(data: memoryview, limit: int) -> tuple[int, memoryview]:
    """Type and data of a compressed element; no more than `limit` bytes of it."""
    try:
        inflated = zlib.decompressobj().decompress(data, limit)
    except zlib.error as error:
        raise _Unreadable(f"a damaged file ({error})") from None
    return int.from_bytes(inflated[:4], "little"), memoryview(inflated)[8:]


def _matrices(content: memoryview, limit: int, wanted: Set[str]) -> Iterator[memoryview]:
    """The wanted arrays of the file, as the elements that they consist of; of the others nothing is unpacked."""
    start = _HEADER
    for _ in range(_MOST_ELEMENTS):
        if start >= len(content):
            return
        kind, packed, start = _element(content, start)
        of, data = _inflate(packed, _ABOUT) if kind == _COMPRESSED else (kind, packed)
        if of == _MATRIX and _name(data) in wanted:
            yield _inflate(packed, limit)[1] if kind == _COMPRESSED else data
    raise _Unreadable(f"a file of more than {_MOST_ELEMENTS} elements")


def _name(matrix: memoryview) -> str:
    """Name of an array, of which no more than the beginning need be there."""
    _, _, start = _element(matrix, 0)
    _, _, start = _element(matrix, start)
    _, name, _ = _element(matrix, start)
    return bytes(name).decode("ascii", "replace")


def _array(matrix: memoryview, limit: int) -> tuple[str, NDArray[np.uint8] | str]:
    """Name and value of an array; what it is where it is not of bytes, or of more than `limit` of them."""
    _, flags, start = _element(matrix, 0)
    _, dimensions, start = _element(matrix, start)
    _, _, start = _element(matrix, start)
    label = _name(matrix)
    if len(flags) != 8 or len(dimensions) % 4:
        raise _Unreadable("a damaged file (its array has no shape)")
    # Bits above the class say complex, global or logical: neither is bytes.
    if flags[0] != _UINT8_CLASS or flags[1]:
        return label, "not of bytes"
    shape = struct.unpack(f"<{len(dimensions) // 4}i", dimensions)
    if 0 < len(shape) <= _DIMENSIONS and min(shape) > 0 and prod(shape) > limit:
        return label, str(shape)
    kind, data, _ = _element(matrix, start)
    if kind != _UINT8 or not 0 < len(shape) <= _DIMENSIONS or min(shape) < 0 or prod(shape) != len(data):
        raise _Unreadable(f"a damaged file ({len(data)} bytes for an array of shape {shape})")
    return label, np.frombuffer(data, np.uint8).reshape(shape, order="F")


def _arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.uint8] | str]:
    # No array inflates to more than is asked for, whatever a crafted file says; others beside them may have as much.
    limit = max(map(prod, shapes.values()))
    content = read_bytes(path, 2 * sum(map(prod, shapes.values())) + _REST)
    if content[124:_HEADER] == _VERSION_7_3 or content.startswith(b"\x89HDF"):
        raise _Unreadable("a file of version 7.3 (HDF5)")
    if content[124:_HEADER] != _VERSION_5:
        raise _Unreadable("a foreign file")
    found: dict[str, NDArray[np.uint8] | str] = {}
    for matrix in _matrices(memoryview(content), limit + _ABOUT, shapes.keys()):
        label, value = _array(matrix, limit)
        if label in found:
            raise _Unreadable(f"two arrays {label}")
        found[label] = value
    return found


def _described(value: NDArray[np.uint8] | str) -> str:
    return value if isinstance(value, str) else str(value.shape)
