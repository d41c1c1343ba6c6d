"""Files of torch.save, looked at before torch.load reads them: a few hundred bytes could ask it for all memory."""

import zipfile
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from advdpnp.inert_pickle import LimitError, read_pickle
from advdpnp.ranges import cut

# Elements that a call may be asked to make, for each byte of the file, and some more.
_TIMES, _ALLOWANCE = 16, 1 << 20
# What makes nothing of the sizes that it is given, but views of what is stored, or none.
_SIZELESS = {"torch.Size", "torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_wrapper_subclass"}
_SIZELESS |= {f"torch._utils._rebuild_{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "parameter")}
# Modules of which torch.load calls anything with weights_only=True.
_CALLED = {"builtins", "__builtin__", "collections", "torch"}
# How a file begins that is no zip; then come a version, the machine, the content, and names of what follows.
_MAGIC, _PICKLES = 0x1950A86A20F9469CFC6C, 5


def check_limits(path: Path) -> None:
    """Refuse a file of which torch.load would make far more than it holds, even with weights_only=True.

    Such a load makes bytes and tensors of any size, copies bytes again and again, and unpacks what torch.save never
    packs.

    Raises:
        LimitError: as above. Whatever a damaged file leads to, of which torch.load would make nothing either.
    """
    size = path.stat().st_size
    look = partial(_look, _TIMES * size + _ALLOWANCE)
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            _check_zip(file, size, look)
            return
        file.seek(0)
        for place in range(_PICKLES):
            found = read_pickle(file, {}, _nothing, look)
            if place == 0 and (type(found) is not int or found != _MAGIC):
                # No file of torch.save: torch.load reads this much of it.
                return


def _check_zip(file: BinaryIO, size: int, look: Callable[[str, Any], None]) -> None:
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        root = parts[0].filename.partition("/")[0] if parts else ""
        if any(part.filename == f"{root}/constants.pkl" for part in parts):
            # A TorchScript program, which torch.load refuses.
            return
        stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
        if not stored or sum(part.file_size for part in parts) > size:
            raise LimitError("it is packed smaller than it is, which torch.save never does")
        for part in parts:
            if part.filename.endswith("data.pkl"):
                with archive.open(part) as stream:
                    read_pickle(stream, {}, _nothing, look)  # type: ignore[arg-type]


def _look(most: int, name: str, arguments: Any) -> None:
    if name in _SIZELESS or name.partition(".")[0] not in _CALLED or not isinstance(arguments, tuple):
        return
    wanted = max(map(_elements, arguments), default=0)
    if wanted > most:
        raise LimitError(f"it asks {cut(name)} for {wanted:,} elements, which it does not hold")


def _elements(argument: Any) -> int:
    """How many elements an argument may stand for, as a size or a shape."""
    if isinstance(argument, int):
        return argument
    shape = isinstance(argument, (tuple, list)) and len(argument) <= 64 and all(type(side) is int for side in argument)
    return prod(argument) if shape else 0


def _nothing(_: Any) -> Any:
    return None
