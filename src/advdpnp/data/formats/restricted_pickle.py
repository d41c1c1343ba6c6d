"""Reads the pickles of CIFAR without running any code that they name.

The names by which a pickle rebuilds a numpy array stand for classes of this module, which take bytes alone: numpy's own
`__setstate__` trusts the state that it is given, and a crafted one could pass bytes off as object pointers.
"""

import math
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def _encode(text: str, _: str) -> bytes:
    # How protocol 2 of Python 3 writes bytes, always as latin1.
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


# Python's own, not the faster one in C: that makes room for any place in its memo which a file names, up to 64 GB.
class _ArraysOnly(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise ValueError(f"its pickle asks for {module}.{name}, which no CIFAR file needs")
        return _STAND_INS[module, name]


def read_pickle(path: Path) -> dict[bytes, Any]:
    """The dictionary in a CIFAR batch: keys as bytes, uint8 arrays (read-only), lists and numbers.

    Raises:
        ValueError: the file is damaged, holds no dictionary, or asks for more than uint8 arrays.
    """
    raw = path.read_bytes()
    try:
        content = _ArraysOnly(BytesIO(raw), encoding="bytes").load()
        return {key: value.value if isinstance(value, _Array) else value for key, value in content.items()}
    except Exception as error:  # garbage fails in any way that an unpickler can
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} must be a CIFAR pickle; got a damaged or foreign one ({reason}): {CURE}") from None
