"""Reads the pickles of CIFAR without running any code that they name.

The names by which a pickle rebuilds a numpy array stand for classes of this module, which take bytes alone: numpy's own
`__setstate__` trusts the state that it is given, and a crafted one could pass bytes off as object pointers.
"""

import math
import pickle
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from advdpnp.bounded_files import read_bytes

CURE = "restore it from its archive"


class _Dtype:
    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and fields, which single bytes have none of."""


class _Array:
    value: NDArray[np.uint8]

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, dtype, column_major, content = state
        if dtype.code not in ("u1", b"u1") or column_major or len(content) != math.prod(shape):
            raise ValueError(f"{len(content)} bytes of type {dtype.code!r} are no row-major uint8 array {shape}")
        self.value = np.frombuffer(content, np.uint8).reshape(shape)


def _reconstruct(*_: object) -> _Array:
    return _Array()


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}
# Operations that CIFAR's files, of Python 2 and 3, do without. One makes room for as many bytes as it names, and
# elements of sets are hashed.
_UNUSED = (
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.EMPTY_SET, pickle.ADDITEMS),
    *(pickle.FROZENSET, pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
)


# Python's own, not the faster one in C: that makes room for any place in its memo which a file names, up to 64 GB. Its
# parts are in no stub.
_Unpickler: Any = pickle._Unpickler


class _ArraysOnly(_Unpickler):  # type: ignore[misc]
    """Args: raw: the file, of which no bytes are copied more often than a file without tricks needs."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def __init__(self, raw: bytes) -> None:
        super().__init__(BytesIO(raw), encoding="bytes")
        self._left = len(raw)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        if (module, name) not in _STAND_INS:
            raise ValueError(f"its pickle asks for {module}.{name}, which no CIFAR file needs")
        return _STAND_INS[module, name]

    def _encode(self, text: str, _: str) -> bytes:
        # How protocol 2 of Python 3 writes bytes, always as latin1. One text could be named again and again.
        self._left -= len(text)
        if self._left < 0:
            raise ValueError("its pickle repeats its bytes")
        return text.encode("latin1")

    def _refuse(self) -> None:
        raise ValueError("its pickle has an operation that no CIFAR file needs")

    def _check_keys(self, keys: Sequence[object]) -> None:
        # Numbers could be chosen so that their hashes collide.
        if not all(isinstance(key, (str, bytes)) for key in keys):
            raise ValueError("its pickle has a dictionary whose keys are no texts")

    def _load_dict(self) -> None:
        self._check_keys(self.stack[::2])
        super().load_dict()

    def _load_items(self) -> None:
        self._check_keys(self.stack[::2])
        super().load_setitems()

    def _load_item(self) -> None:
        self._check_keys(self.stack[-2:-1])
        super().load_setitem()

    dispatch |= {pickle.DICT[0]: _load_dict, pickle.SETITEMS[0]: _load_items, pickle.SETITEM[0]: _load_item}
    dispatch |= dict.fromkeys((code[0] for code in _UNUSED), _refuse)


def read_pickle(path: Path, most: int = 1 << 28) -> dict[bytes, Any]:
    """The dictionary in a CIFAR batch: keys as bytes, uint8 arrays (read-only), lists and numbers.

    Args:
        path: the file.
        most: bytes that it may have.
    Raises:
        ValueError: the file is damaged, larger, holds no dictionary, or asks for more than uint8 arrays.
    """
    raw = read_bytes(path, most)
    try:
        content = _ArraysOnly(raw).load()
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, no dictionary")
        return {key: value.value if isinstance(value, _Array) else value for key, value in content.items()}
    except Exception as error:  # garbage fails in any way that an unpickler can
        # A KeyError is that of an operation, and says its number alone.
        reason = "" if isinstance(error, KeyError) else " ".join(str(error).split())
        reason = reason or f"no pickle: {type(error).__name__}"
        raise ValueError(f"{path} must be a CIFAR pickle; got a damaged or foreign one ({reason}): {CURE}") from None
