"""JSON that anyone may have written: parsed without surprises, and held against what annotations say of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from advdpnp.ranges import Range, brief, cut

# Controls and what turns the direction of writing: no name needs them, and they would garble what stands beside it.
# Lone halves of surrogate pairs cannot be written at all.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]"
)
_LARGEST = 2**63
# How deep values lie in each other at most, and digits of a number: more than in any file of ours.
_DEEPEST, _DIGITS = 64, 400
_SHOWN = 80
# Decimals to which a number has to be in its range: a mean of shares may be above 1 by rounding.
_DECIMALS = 9
# Of a name that is shown beside others.
_LONGEST = 60


def parsed(text: str) -> Any:
    """JSON values whose numbers are finite.

    Raises:
        ValueError: no JSON, a number that is not finite, or values nested too deeply to be read.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("values nested too deeply") from None
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise ValueError("values nested too deeply")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _whole(text: str) -> int:
    # Longer ones are no count of anything, and Python refuses to read them in words of its own.
    return int(text) if len(text) <= _DIGITS else _refuse(f"{text[:20]}...")  # type: ignore[return-value]


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text[:_SHOWN])


def to_show(value: Any) -> Any:
    """JSON values in whose texts every control character is U+FFFD, since they are to be shown beside others."""
    if isinstance(value, str):
        return shown_text(value)
    if isinstance(value, list):
        return list(map(to_show, value))
    if isinstance(value, dict):
        return {shown_text(name): to_show(inner) for name, inner in value.items()}
    return value


def shown_text(text: str) -> str:
    """A text in which every control character is U+FFFD; tabs and line ends stay."""
    return _CONTROLS.sub("\ufffd", text)


def short_name(text: str) -> str:
    """A name on one line; a long one is cut, and told from others by the beginning of its SHA-256."""
    line = " ".join(shown_text(text).split())
    if len(line) <= _LONGEST:
        return line
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"{line[: _LONGEST - 20]}... ({digest})"


def check_schema(stored: Any, known: int) -> None:
    """TypeError unless this is an object, and ValueError unless it has the schema that this version reads."""
    check_value("a stored result", stored, dict[str, Any])
    found = stored["schema"]
    if found != known or isinstance(found, bool):
        newer = isinstance(found, int) and found > known
        raise ValueError(
            f"schema {brief(found)}, this version reads {known}" + (": a later advdpnp wrote it" if newer else "")
        )


def later_epoch(line: dict[str, Any], last: int) -> int:
    """The epoch that a line of train.jsonl is of; ValueError where it is not after that of the line before.

    Two trainings that wrote to one file, or one copied to the end of another, would be one curve that jumps back.
    """
    epoch = line.get("epoch", last + 1)
    # Of another kind: whoever needs the number says so.
    if type(epoch) is not int:
        return last
    if epoch <= last:
        raise ValueError(f"epoch {epoch} comes after epoch {last}")
    return epoch


def check_value(name: str, value: Any, kind: Any) -> None:
    """Raise TypeError unless a value is what an annotation says, with all that it holds.

    Args:
        name: of the value, for the message; what is inside of it is named with dots.
        value: of JSON.
        kind: float (a finite number), int, either with a range (`advdpnp.ranges`), str, bool, None, list[...],
            dict[str, ...], a Literal of texts, a union of these, a TypedDict, whose further keys are free, a dataclass,
            for an object that others check, or Any.
    """
    problem = _problem(name, value, kind)
    if problem:
        raise TypeError(problem)


def _problem(name: str, value: Any, kind: Any) -> str:
    """What is wrong with a value, in words; "" if nothing is."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return ""
    if origin in (Union, UnionType):
        problems = [_problem(name, value, part) for part in parts]
        inside = [problem for problem in problems if not problem.startswith(f"{name} is ")]
        return (inside or problems)[0] if all(problems) else ""
    if origin in (NotRequired, Required):
        return _problem(name, value, parts[0])
    if origin is Annotated:
        return _problem(name, value, parts[0]) or _problem_of_range(name, value, parts[1])
    if is_typeddict(kind):
        return _problem_of_keys(name, value, kind)
    if is_dataclass(kind):
        kind = dict
    if not _is_of_kind(value, origin or kind, parts):
        return f"{name} is {brief(value)}"
    if origin is list:
        found = (_problem(f"{name}[{place}]", item, parts[0]) for place, item in enumerate(value))
        return next(filter(None, found), "")
    if origin is dict:
        found = (_problem(f"{name}.{key[:_SHOWN]}", item, parts[1]) for key, item in value.items())
        return next(filter(None, found), "")
    return ""


def _problem_of_range(name: str, value: float, allowed: Range) -> str:
    return "" if value in allowed or round(value, _DECIMALS) in allowed else f"{name} is {brief(value)}, not {allowed}"


def _problem_of_keys(name: str, value: Any, kind: Any) -> str:
    if not isinstance(value, dict):
        return f"{name} is {brief(value)}"
    lacking = sorted(kind.__required_keys__ - value.keys())
    if lacking:
        return f"{name} has no {lacking[0]!r}"
    hints = get_type_hints(kind, include_extras=True)
    found = (_problem(f"{name}.{key}", value[key], hint) for key, hint in hints.items() if key in value)
    return next(filter(None, found), "")


def _is_of_kind(value: Any, kind: Any, words: tuple[Any, ...]) -> bool:
    if kind is Literal:
        return isinstance(value, str) and value in words
    if kind is NoneType:
        return value is None
    # To Python, True is the number 1.
    if kind in (int, float):
        numbers = (int, float) if kind is float else (int,)
        return isinstance(value, numbers) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    return isinstance(value, kind)


def differences(stored: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Fields in which two configurations differ, as "recipe.epochs: 2, not 110" (stored first)."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in [*stored, *(key for key in wanted if key not in stored)]:
            name = f"{path}.{key}" if path else str(key)
            yield from differences(stored.get(key), wanted.get(key), name)
    elif stored != wanted:
        # A text and a number can look the same.
        first, second = (stored, wanted) if str(stored) != str(wanted) else (repr(stored), repr(wanted))
        yield f"{path or 'the whole'}: {cut(first)}, not {cut(second)}"
