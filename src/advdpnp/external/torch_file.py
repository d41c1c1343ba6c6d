"""Reads what torch.save wrote, in any of its formats but the oldest, and runs nothing of it."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from advdpnp.external.stored_tensors import TENSORS, Source, StoredStorage, storage_dtype
from advdpnp.inert_pickle import read_pickle

# How a file of torch.save begins that is no zip: a number, then a version.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_LARGEST_PICKLE = 1 << 30
_AGAIN = "load it where you trust it, and save model.state_dict() again with torch.save"


def read_inertly(path: Path) -> Any:
    """What a torch file or pickle holds, with placeholders for everything but tensors and plain values.

    Args:
        path: of torch.save, as a zip or in the form before PyTorch 1.6, or of pickle.dump.
    Returns:
        As `advdpnp.inert_pickle.read_pickle`, tensors as `StoredTensor` or `Unreadable`. Their data stay in
        the file until they are read; it must not change before.
    Raises:
        FileNotFoundError: no such file. ValueError: one line, what is damaged or cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}: give a file of torch.save")
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except _FormatError as error:
        raise ValueError(f"{path} is {error}") from None
    except (MemoryError, RecursionError):
        raise ValueError(f"{path} is damaged, or crafted: it needs more memory than there is") from None
    except Exception as error:  # a crafted file can fail in any way that a reader can
        said = " ".join(str(error).split())[:200] if isinstance(error, ValueError) else type(error).__name__
        raise ValueError(f"{path} is damaged, or no file of torch.save ({said}): restore it") from None


class _FormatError(Exception):
    """A file of another kind; the message goes on after "FILE is"."""


def _read(file: BinaryIO, path: Path) -> Any:
    start = file.read(512)
    file.seek(0)
    if start[257:262] == b"ustar":
        raise _FormatError(f"in the tar form of torch before 0.4, which is not read: {_AGAIN}")
    if start[:4] == b"PK\x03\x04":
        return _read_zip(file, Source(path))
    return _read_stream(file, Source(path))


def _read_zip(file: BinaryIO, source: Source) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in entries if name.split("/")[1:] == ["data.pkl"]]
    if len(roots) != 1:
        raise _FormatError(f"a zip archive, but none of torch.save: {_AGAIN}")
    root = roots[0]
    if f"{root}constants.pkl" in entries:
        raise _FormatError("a TorchScript program, not weights: save the state_dict() of torch.jit.load(...) instead")

    def place(name: str) -> tuple[int, int]:
        info = entries[root + name]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ValueError(f"its part {name[:80]!r} is compressed, which torch.save never does")
        file.seek(info.header_offset)
        header = file.read(30)
        names, extra = struct.unpack("<HH", header[26:30])
        start = info.header_offset + 30 + names + extra
        if header[:4] != b"PK\x03\x04" or start + info.file_size > source.size:
            raise ValueError(f"its part {name[:80]!r} is not where the archive says")
        return start, info.file_size

    def content(name: str) -> bytes:
        start, size = place(name)
        if size > _LARGEST_PICKLE:
            raise ValueError(f"its part {name!r} has {size} bytes")
        file.seek(start)
        return file.read(size)

    if f"{root}byteorder" in entries and content("byteorder") != b"little":
        raise _FormatError(f"of a big-endian machine, which is not read: {_AGAIN}")
    storages: dict[str, StoredStorage] = {}

    def storage(dtype: torch.dtype, key: str, count: Any, _: Any) -> StoredStorage:
        if key not in storages:
            storages[key] = StoredStorage(dtype, count)
            storages[key].put(source, *place(f"data/{key}"))
        # A storage can be named again with another type.
        return storages[key] if storages[key].dtype == dtype else _again(storages[key], dtype, count)

    return read_pickle(io.BytesIO(content("data.pkl")), TENSORS, _persistent(storage))


def _again(known: StoredStorage, dtype: torch.dtype, count: Any) -> StoredStorage:
    return StoredStorage(dtype, count, known)


def _read_stream(file: BinaryIO, source: Source, nested: bool = False) -> Any:
    storages: dict[str, StoredStorage] = {}

    def storage(dtype: torch.dtype, key: str, count: Any, part: Any) -> StoredStorage:
        known = storages.setdefault(key, StoredStorage(dtype, count))
        if part is None:
            return known if known.dtype == dtype else _again(known, dtype, count)
        _, shift, length = part
        return StoredStorage(dtype, length, known, shift)

    def from_bytes(content: Any = b"", *_: Any) -> Any:
        """What pickle.dump writes of a storage: a file of its own, within the pickle."""
        if nested or not isinstance(content, bytes):
            raise ValueError("it has a storage within a storage")
        return _read_stream(io.BytesIO(content), Source(content), nested=True)

    rebuild = {**TENSORS, "torch.storage._load_from_bytes": from_bytes}
    first = read_pickle(file, rebuild, _persistent(storage))
    if type(first) is not int or first != _MAGIC:
        return first
    if read_pickle(file, {}, _nothing) != _VERSION:
        raise ValueError("its version is not known")
    system = read_pickle(file, {}, _nothing)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise _FormatError(f"of a big-endian machine, which is not read: {_AGAIN}")
    content = read_pickle(file, rebuild, _persistent(storage))
    for key in read_pickle(file, {}, _nothing):
        header = file.read(8)
        if len(header) < 8:
            raise ValueError("it ends where a storage of it should begin")
        (count,) = struct.unpack("<q", header)
        found = storages[str(key)]
        size = count * found.dtype.itemsize
        found.put(source, file.tell(), size)
        file.seek(size, io.SEEK_CUR)
    return content


def _persistent(storage: Callable[[torch.dtype, str, Any, Any], StoredStorage]) -> Callable[[Any], Any]:
    """Storages by their identifiers, (kind, class, key, device, elements and, in old files, a part of it)."""

    def load(identifier: Any) -> Any:
        if isinstance(identifier, tuple) and len(identifier) > 1 and identifier[0] == "module":
            # The class of a pickled module, with its source code.
            return identifier[1]
        if not (isinstance(identifier, tuple) and len(identifier) in (5, 6) and identifier[0] == "storage"):
            raise ValueError("it names something outside of it that is no storage")
        _, kind, key, _, count, *part = identifier
        if not isinstance(key, (str, int)):
            raise ValueError("it has a storage without a name")
        return storage(storage_dtype(kind), str(key), count, part[0] if part else None)

    return load


def _nothing(_: Any) -> Any:
    raise ValueError("it names something outside of it")
