"""A checksum inside of stored JSON: its first entry, SHA-256 of all others, whatever their order and spaces.

Whoever edits such a file by hand removes that entry: what has none is read, with a warning. No torch.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

KEY = "sha256"
# Of a sum, and of it in messages.
_DIGITS, _SHOWN = 64, 12


class DamagedError(ValueError):
    """A file is not what was written; its message is complete."""


class UncheckedWarning(UserWarning):
    """A file has no checksum: an earlier version, another program or a person wrote it."""


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """The same object with its checksum before it.

    Raises:
        ValueError: it has an entry of that name already.
    """
    if KEY in content:
        raise ValueError(f"{KEY!r} is the checksum of a stored object, and no name for one of its values")
    return {KEY: _sum(json.loads(json.dumps(content))), **content}


def unsealed(content: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What was sealed, and whether it has a checksum.

    Raises:
        ValueError: the content is not that which was sealed.
    """
    if KEY not in content:
        _check_first(content)
        return content, False
    rest = {name: value for name, value in content.items() if name != KEY}
    wanted, found = content[KEY], _sum(rest)
    if wanted != found:
        raise ValueError(f"expected the {KEY} {str(wanted)[:_SHOWN]}..., got {found[:_SHOWN]}...")
    return rest, True


def _check_first(content: dict[str, Any]) -> None:
    """ValueError where the checksum itself is there, under a damaged name."""
    name, value = next(iter(content.items()), ("", None))
    if (
        isinstance(value, str)
        and len(value) == _DIGITS
        and value == _sum({k: content[k] for k in content if k != name})
    ):
        raise ValueError(f"expected the entry {KEY!r}, got {name!r}")


def sealed_line(content: dict[str, Any]) -> str:
    """A sealed object as a line of a file of lines."""
    return json.dumps(sealed(content)) + "\n"


def unsealed_line(line: bytes) -> tuple[dict[str, Any], bool]:
    """As `unsealed`, from a line."""
    try:
        content = json.loads(line)
        if not isinstance(content, dict):
            raise ValueError("expected an object")
        return unsealed(content)
    except RecursionError:
        raise ValueError("values nested too deeply") from None


def verified(path: Path, content: Any, cure: str = "restore it from a copy, or run what wrote it again") -> Any:
    """What was sealed; of anything else the same, and that it has no checksum is told.

    Args:
        path: of the file.
        content: as `json.loads` gives it.
        cure: what to do about a damaged file.
    Raises:
        DamagedError: the content is not that which was written.
    """
    if not isinstance(content, dict):
        return content
    try:
        rest, checked = unsealed(content)
    except ValueError as error:
        raise DamagedError(
            f"{path} is damaged ({error}): {cure}; if you changed it yourself, remove {KEY!r} from it"
        ) from None
    if not checked:
        tell_unchecked(path)
    return rest


def _sum(content: Any) -> str:
    # Numbers that are not finite are allowed: the log of a training may hold some.
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_found: ContextVar[dict[Path, None] | None] = ContextVar("unchecked files", default=None)


def tell_unchecked(path: Path) -> None:
    """Warn that a file has no checksum, at once or, within `one_warning`, together with others."""
    found = _found.get()
    if found is None:
        _warn([path], stacklevel=4)
    else:
        found[path] = None


@contextmanager
def one_warning() -> Iterator[None]:
    """While it lasts, files without a checksum are noted; at the end one warning says how many there were."""
    if _found.get() is not None:
        yield
        return
    found: dict[Path, None] = {}
    token = _found.set(found)
    try:
        yield
    finally:
        _found.reset(token)
        if found:
            _warn(list(found), stacklevel=4)


def _warn(paths: list[Path], stacklevel: int) -> None:
    first = f"{paths[0]} has" if len(paths) == 1 else f"{len(paths)} files have"
    such = "" if len(paths) == 1 else f", such as {paths[0]}"
    warnings.warn(
        f"{first} no checksum{such}: an earlier version, another program or a person wrote "
        f"{'it' if len(paths) == 1 else 'them'}, and damage would not be seen",
        UncheckedWarning,
        stacklevel=stacklevel,
    )
