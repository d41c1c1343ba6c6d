"""Dataclasses whose fields are stored in files: under which names, with which marks, and how they are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, get_type_hints

from advdpnp.result_parts import check_interval
from advdpnp.stored_values import check_value


def declared(cls: type, mark: str) -> dict[str, Any]:
    """Stored names of the fields of a dataclass that bear a mark, such as "own" or "around", with its value."""
    marks = {name: found.metadata.get(mark) for name, found in _declared(cls).items()}
    return {name: value for name, value in marks.items() if value}


@cache
def _declared(cls: type) -> dict[str, Any]:
    """Fields of a dataclass by the names under which they are stored."""
    named = {found.metadata.get("stored", found.name): found for found in fields(cls)}
    return {name: found for name, found in named.items() if name}


@cache
def stored_kinds(cls: type) -> dict[str, Any]:
    """What the stored fields of a dataclass may be, as their mark "kind" says, or else their annotations."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: found.metadata.get("kind", hints[found.name]) for name, found in _declared(cls).items()}


def declared_values(cls: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The declared fields of a stored object; KeyError, TypeError or ValueError where one is not what it must be.

    A field marked as "around" another is the interval of that share.
    """
    values: dict[str, Any] = {}
    for name, found in _declared(cls).items():
        if name not in stored and (found.default, found.default_factory) != (MISSING, MISSING):
            continue
        value = values[found.name] = stored[name]
        check_value(name, value, stored_kinds(cls)[name])
    for name, share in declared(cls, "around").items():
        check_interval(name, stored[name], stored[share])
    return values
