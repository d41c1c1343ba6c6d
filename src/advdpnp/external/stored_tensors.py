"""Tensors as a checkpoint stores them: where their bytes are, checked before anything is read."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advdpnp.inert_pickle import GlobalName, Rebuild

_MOST_DIMENSIONS = 64
_DTYPES = {
    f"torch.{name}": getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
    )
}
_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128, "UntypedStorage": torch.uint8,
    # Of quantized tensors, which are refused; only the size of an element matters.
    "QInt8Storage": torch.int8, "QUInt8Storage": torch.uint8, "QInt32Storage": torch.int32,
    "QUInt4x2Storage": torch.uint8, "QUInt2x4Storage": torch.uint8,
}  # fmt: skip
_NUMPY = {
    "f8": torch.float64, "f4": torch.float32, "f2": torch.float16, "i8": torch.int64, "i4": torch.int32,
    "i2": torch.int16, "i1": torch.int8, "u8": torch.uint64, "u4": torch.uint32, "u2": torch.uint16,
    "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip


# Classes of tensors that are no more than tensors.
_PLAIN = {"torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"}


class Source:
    """The bytes of a file, mapped into memory where they are wanted, or bytes that a pickle holds."""

    def __init__(self, content: Path | bytes) -> None:
        self._content = content
        self.size = content.stat().st_size if isinstance(content, Path) else len(content)
        self._whole: Tensor | None = None

    def span(self, start: int, end: int) -> Tensor:
        """Bytes from `start` up to `end`, as uint8 that shares the file's pages."""
        if self._whole is None:
            if isinstance(self._content, Path):
                mapped = torch.UntypedStorage.from_file(str(self._content), shared=False, nbytes=self.size)
                self._whole = torch.empty(0, dtype=torch.uint8).set_(mapped)  # type: ignore[arg-type]
            else:
                self._whole = torch.frombuffer(bytearray(self._content), dtype=torch.uint8)
        return self._whole[start:end]


class StoredStorage:
    """Elements of one type that lie somewhere in a source.

    Args:
        dtype: of an element.
        count: elements that the file claims.
        within: the storage that this one is a part of, from element `shift` on.
    """

    def __init__(self, dtype: torch.dtype, count: Any, within: "StoredStorage | None" = None, shift: Any = 0) -> None:
        _check_counts((count, shift))
        self.dtype, self.count, self.within, self.shift = dtype, count, within, shift
        self._place: tuple[Source, int] | None = None
        if within is not None and (shift + count) * dtype.itemsize > within.nbytes:
            raise ValueError("it has a part of a storage that is larger than the whole")

    @property
    def nbytes(self) -> int:
        """Size that the file claims, in bytes."""
        return int(self.count) * self.dtype.itemsize

    def put(self, source: Source, start: int, size: int) -> None:
        """Say where its bytes are, `size` of them; ValueError if it claims more."""
        if self.nbytes > size or start < 0 or start + size > source.size:
            raise ValueError(f"it has a storage of {self.nbytes} bytes where there are {size}")
        self._place = source, start

    @property
    def place(self) -> tuple[Source, int]:
        """Source, and the position of the first byte in it."""
        if self.within is not None:
            source, start = self.within.place
            return source, start + self.shift * self.dtype.itemsize
        if self._place is None:
            raise ValueError("it has a tensor without its data")
        return self._place


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage, with the arguments that torch stores for it; ValueError if it leaves the storage."""

    storage: StoredStorage
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        if not all(isinstance(value, tuple) and len(value) <= _MOST_DIMENSIONS for value in (self.size, self.stride)):
            raise ValueError("it has a tensor without a shape")
        _check_counts((self.offset, *self.size, *self.stride))
        if len(self.size) != len(self.stride) or self.span[1] > self.storage.nbytes:
            raise ValueError("it has a tensor that reaches beyond its storage")

    @property
    def span(self) -> tuple[int, int]:
        """First byte of the storage that the view needs, and the one after its last."""
        first, last = self.offset, self.offset - 1
        if all(self.size):
            last += 1 + sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))
        return first * self.dtype.itemsize, (last + 1) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that it takes when it is written alone."""
        return math.prod(self.size) * self.dtype.itemsize

    @property
    def scalar(self) -> bool:
        """Whether it is a single number without dimensions."""
        return not self.size

    @property
    def place(self) -> tuple[int, int, int]:
        """A number for its source, its first byte there, and the one after its last."""
        source, start = self.storage.place
        return id(source), start + self.span[0], start + self.span[1]

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for two names of one tensor."""
        return *self.place, self.dtype, self.size, self.stride

    def read(self) -> Tensor:
        """The tensor, contiguous; it shares the file's pages where it can."""
        if not self.nbytes:
            return torch.empty(self.size, dtype=self.dtype)
        (source, start), (first, end) = self.storage.place, self.span
        found = source.span(start + first, start + end)
        # Old files have numbers at odd places.
        found = found.clone() if found.data_ptr() % self.dtype.itemsize else found
        typed = found.view(self.dtype)
        return typed.as_strided(self.size, self.stride, typed.storage_offset()).contiguous()


class StoredArray:
    """A numpy array that lies in the pickle itself."""

    def __init__(self, *_: Any) -> None:
        self._tensor: StoredTensor | None = None

    def set_state(self, state: Any) -> None:
        """The array's (version, shape, dtype, column-major, bytes); anything else leaves it without a tensor."""
        if isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, column_major, content = state
            if isinstance(dtype, StoredDtype) and isinstance(content, bytes) and not column_major:
                self._tensor = _array(content, dtype, shape)

    def tensor(self) -> "StoredTensor | Unreadable":
        """Its values as a tensor."""
        return self._tensor or Unreadable("a numpy array of a kind that torch does not have")


class StoredDtype:
    """A numpy dtype: its code, such as "f4", and byte order."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code, self.order = code, "|"

    def set_state(self, state: Any) -> None:
        """numpy's state of a dtype, whose second value is the byte order."""
        self.order = state[1] if isinstance(state, tuple) and len(state) > 1 else "?"


def _array(content: bytes, dtype: StoredDtype, shape: Any) -> StoredTensor | None:
    known = _NUMPY.get(dtype.code) if isinstance(dtype.code, str) and dtype.order in ("<", "|", "=") else None
    if known is None or not isinstance(shape, tuple):
        return None
    _check_counts(shape)
    storage = StoredStorage(known, len(content) // known.itemsize)
    storage.put(Source(content), 0, len(content))
    return StoredTensor(storage, known, 0, shape, tuple(math.prod(shape[at + 1 :]) for at in range(len(shape))))


@dataclass(frozen=True)
class Unreadable:
    """A tensor that has no plain values, such as a sparse one; `reason` says what it is."""

    reason: str
    scalar = False


def storage_dtype(kind: Any) -> torch.dtype:
    """Type of the elements of a storage class; ValueError for what is none."""
    module, _, name = kind.text.rpartition(".") if isinstance(kind, GlobalName) else ("", "", "")
    if module.split(".")[0] != "torch" or name not in _STORAGES:
        raise ValueError("it has a storage of unknown type")
    return _STORAGES[name]


def _check_counts(values: tuple[Any, ...]) -> None:
    if not all(type(value) is int and 0 <= value < 1 << 62 for value in values):
        raise ValueError("it has a size that is no number of elements")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> StoredTensor | Unreadable:
    if not isinstance(storage, StoredStorage):
        raise ValueError("it has a tensor without a storage")
    flags = rest[2] if len(rest) > 2 else None
    if isinstance(flags, dict) and any(flags.values()):
        return Unreadable("a tensor with its sign or conjugation put off")
    return StoredTensor(storage, storage.dtype, offset, size, stride)


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, _: Any, __: Any, dtype: Any, *___: Any) -> Any:
    known = _DTYPES.get(dtype.text) if isinstance(dtype, GlobalName) else None
    if known is None or not isinstance(storage, StoredStorage):
        return Unreadable("a tensor of unknown type")
    return StoredTensor(storage, known, offset, size, stride)


def _of_type(maker: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor with attributes, or of a subclass."""
    name = kind.text if isinstance(kind, GlobalName) else "unknown type"
    if name not in _PLAIN:
        return Unreadable(f"a tensor of the subclass {name}")
    if not (isinstance(maker, GlobalName) and maker.text in TENSORS and isinstance(arguments, tuple)):
        return Unreadable("a tensor of unknown making")
    return TENSORS[maker.text](*arguments)


def _same(tensor: Any, *_: Any) -> Any:
    return tensor


def _encoded(text: Any = "", *_: Any) -> bytes:
    # How protocol 2 of Python 3 writes bytes, always as latin1.
    return text.encode("latin1") if isinstance(text, str) else b""


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any = "C", *_: Any) -> StoredArray:
    array = StoredArray()
    array.set_state((1, shape, dtype, order != "C", bytes(content) if isinstance(content, bytearray) else content))
    return array


def _refused(reason: str) -> Any:
    return lambda *_: Unreadable(reason)


# What pickles of tensors and arrays call, and what is done instead.
TENSORS: Rebuild = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _same,
    "torch._utils._rebuild_parameter_with_state": _same,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _same,
    "torch._utils._rebuild_device_tensor_from_numpy": _same,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch._tensor._rebuild_from_type": _of_type,
    "torch._utils._rebuild_qtensor": _refused("a quantized tensor"),
    "torch._utils._rebuild_sparse_tensor": _refused("a sparse tensor"),
    "torch._utils._rebuild_sparse_csr_tensor": _refused("a sparse tensor"),
    "torch._utils._rebuild_nested_tensor": _refused("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _refused("a tensor without data (meta)"),
    "torch._utils._rebuild_wrapper_subclass": _refused("a tensor of a subclass"),
    "torch.distributed.tensor.DTensor": _refused("a tensor spread over devices (DTensor)"),
    "torch.Size": lambda size=(), *_: tuple(size) if isinstance(size, (tuple, list)) else (),
    "_codecs.encode": _encoded,
    "numpy.dtype": StoredDtype,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.multiarray._reconstruct": StoredArray,
    "numpy.core.multiarray._reconstruct": StoredArray,
}
