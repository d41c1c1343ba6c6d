"""Frozen dataclasses to and from plain JSON values, strictly: an unknown field is an error with the nearest names."""

import re
import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from advdpnp.bounded_files import read_text
from advdpnp.ranges import brief, cut, nearest
from advdpnp.threat import parse_eps

T = TypeVar("T")

# Of a file of settings: bytes, and values.
_MOST_YAML, _MOST_VALUES = 1 << 18, 10_000
# Numbers that YAML 1.1 has, of which people mean others: 010 is 8, and 1:30 is 90.
_OTHER_BASE = re.compile(r"[-+]?(0[0-7_]+$|.*:)")

# What a value must be, in words.
_KINDS: dict[type, str] = {
    bool: "true or false",
    float: "a number or a fraction such as 8/255",
    int: "a whole number",
    str: "a text",
}


def encode(value: Any) -> Any:
    """JSON values of a dataclass: nested dataclasses become objects, tuples become lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], values: Mapping[str, Any], path: str) -> T:
    """The dataclass `kind` with these field values.

    Args:
        kind: a frozen dataclass.
        values: field name -> JSON value, or text from the command line, such as "8/255".
        path: dotted path of the object, for messages.
    Raises:
        ValueError: unknown field, wrong type, or a value that `kind` refuses.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} must be a group of fields; got {brief(values)}")
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ValueError(f"unknown field {path}.{name}; nearest: {nearest(str(name), known)}")
    lacking = next((found.name for found in fields(kind) if _is_needed(found) and found.name not in values), "")  # type: ignore[arg-type]
    if lacking:
        raise ValueError(f"{path} has no {lacking}")
    return kind(**{name: _convert(hints[name], value, f"{path}.{name}") for name, value in values.items()})


def _is_needed(field: Field[Any]) -> bool:
    return field.init and (field.default, field.default_factory) == (MISSING, MISSING)


def _convert(kind: Any, value: Any, path: str) -> Any:
    origin = get_origin(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return decode(kind, value, path)
    if origin is tuple:
        if isinstance(value, str):
            value = [part for part in value.strip("[]() ").split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{path} must be a list; got {brief(value)}")
        return tuple(_convert(get_args(kind)[0], item, path) for item in value)
    if origin in (Union, types.UnionType):
        return _convert(get_args(kind)[0], value, path)
    if origin is Literal:
        return _choice(get_args(kind), value, path)
    return _scalar(kind, value, path)


def _choice(choices: tuple[Any, ...], value: Any, path: str) -> Any:
    if value not in choices:
        raise ValueError(f"{path} must be one of {', '.join(map(str, choices))}; got {brief(value)}")
    return value


def _scalar(kind: type, value: Any, path: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if kind in (int, float) and isinstance(value, bool):
            raise ValueError
        if kind is float:
            return parse_eps(value) if isinstance(value, str) else float(value)
        if kind is int and not isinstance(value, str) and int(value) != value:
            raise ValueError
        # Longer ones are no count of anything, and no tensor holds them.
        if kind is int and abs(int(value)) >= 2**63:
            raise ValueError
        if kind is str and not isinstance(value, str):
            raise ValueError
        return kind(value)
    except (KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(f"{path} must be {_KINDS.get(kind, kind.__name__)}; got {brief(value)}") from None


def override(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set the leaf at a dotted path, such as "recipe.epochs", in place.

    Raises:
        ValueError: there is no such field; the nearest paths are listed.
    """
    groups, _, leaf = path.rpartition(".")
    node = _group(tree, groups, path) if groups else tree
    if leaf not in node:
        raise ValueError(f"unknown setting {path!r}; nearest: {nearest(path, paths(tree))}")
    node[leaf] = value


def _group(tree: dict[str, Any], path: str, asked: str) -> dict[str, Any]:
    """The fields below a dotted path; ValueError, naming what was asked for, where there are none."""
    node: Any = tree
    for name in path.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise ValueError(f"unknown setting {asked!r}; nearest: {nearest(asked, paths(tree))}")
    return node


def flat(changes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted paths and values of nested fields.

    Raises:
        ValueError: a field is there twice: with dots, and in its group.
    """
    found: dict[str, Any] = {}
    for name, value in changes.items():
        path = f"{prefix}{name}"
        inner = flat(value, path + ".") if isinstance(value, Mapping) else {path: value}
        if again := next(iter(found.keys() & inner.keys()), ""):
            raise ValueError(f"{again} is there twice, with dots and in its group: leave one out")
        found |= inner
    return found


def merge(tree: dict[str, Any], changes: Mapping[str, Any], prefix: str = "") -> None:
    """Override every leaf that a nested mapping, such as a YAML file, names; ValueError where one is named twice."""
    flat(changes)
    for name, value in changes.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            _group(tree, path, path)
            merge(tree, value, path + ".")
        else:
            override(tree, path, value)


class Changes(dict[str, Any]):
    """Nested fields to override, and the file that they are from, for messages."""

    def __init__(self, content: Mapping[str, Any], path: Path) -> None:
        super().__init__(content)
        self.path = path


def read_changes(path: Path) -> Changes:
    """Fields to override, from a YAML file.

    Raises:
        FileNotFoundError: no such file. ValueError: not YAML, or not a group of fields.
    """
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"no configuration file at {path}: give a YAML file with fields such as recipe.epochs")
    try:
        content = yaml.load(read_text(path, _MOST_YAML), _unique_keys())
        _check_size(content)
    except OSError:
        raise
    except Exception as error:  # of odd values PyYAML raises what it likes
        raise ValueError(
            f"{path} is no YAML ({' '.join(str(error).split())}): expected lines such as `recipe: {{epochs: 2}}`"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a group of fields, such as `recipe: {{epochs: 2}}`; got {brief(content)}")
    return Changes(content, path)


def _check_size(content: Any) -> None:
    """ValueError for what holds itself, or so much: an alias stands for a value as often as it is named."""
    left, waiting = _MOST_VALUES, [content]
    while waiting:
        value = waiting.pop()
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple, set)) else ()
        left -= 1
        if left < len(waiting):
            raise ValueError(f"more than {_MOST_VALUES:,} values, or one that holds itself")


@cache
def _unique_keys() -> Any:
    """PyYAML's safe loader, which would silently take the last of equal keys, 010 for 8, and 1:30 for 90."""
    import yaml

    class UniqueKeys(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            again = _twice(keys)
            if again is not None:
                raise yaml.constructor.ConstructorError(None, None, f"{again!r} is there twice", node.start_mark)
            return dict(super().construct_mapping(node, deep))

        def construct_decimal(self, node: Any) -> float:
            if _OTHER_BASE.match(node.value):
                said = f"{cut(node.value)} is a number of base 8 or 60: write a decimal one, or a text in quotes"
                raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
            of_int = node.tag.endswith("int")
            return int(self.construct_yaml_int(node)) if of_int else float(self.construct_yaml_float(node))

    for kind in ("int", "float"):
        UniqueKeys.add_constructor(f"tag:yaml.org,2002:{kind}", UniqueKeys.construct_decimal)
    return UniqueKeys


def _twice(keys: list[Any]) -> Any:
    """The first key that is there before; what cannot be one is found by PyYAML."""
    seen = set()
    for key in keys:
        if isinstance(key, Hashable):
            if key in seen:
                return key
            seen.add(key)
    return None


def paths(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted paths of all leaves."""
    found: list[str] = []
    for name, value in tree.items():
        found += paths(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [prefix + name]
    return found
