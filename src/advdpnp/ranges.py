"""Values that fields and arguments may have, as part of their types: numbers of a range, words of a list.

Budgets of attacks are numbers in code and texts, such as "8/255", in files and on the command line.

`steps: Count` is `Annotated[int, Range("[1, inf)")]`; `norm: Literal["linf", "l2"]` declares its words as it stands.
"""

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fractions import Fraction
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Range:
    """An interval of finite numbers.

    Args:
        interval: in the usual notation: "[0, 1)" with 0 and without 1; "[1, inf)"; "(-inf, inf)".
        meaning: what the number is, for messages, such as "a fraction of the run".
    """

    interval: str
    meaning: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        low, high = self.interval[1:-1].split(",")
        return float(low), float(high)

    def __contains__(self, value: float) -> bool:
        (low, high), open_low, open_high = self.ends, self.interval[0] == "(", self.interval[-1] == ")"
        # NaN fails every comparison, and the infinite ends are open.
        return (low < value or (low == value and not open_low)) and (value < high or (value == high and not open_high))

    def __str__(self) -> str:
        low, high = self.ends
        if math.isinf(low):
            text = "finite"
        elif math.isinf(high):
            text = f"{'above' if self.interval[0] == '(' else 'at least'} {low:g}"
        else:
            text = f"in {self.interval}"
        return f"{text}, {self.meaning}" if self.meaning else text


Integer = Annotated[int, Range("(-inf, inf)")]
Natural = Annotated[int, Range("[0, inf)")]
Count = Annotated[int, Range("[1, inf)")]
Positive = Annotated[float, Range("(0, inf)")]
NonNegative = Annotated[float, Range("[0, inf)")]
Share = Annotated[float, Range("[0, 1]")]
Degrees = Annotated[float, Range("[0, 180]")]


# A fraction is exact, and so long an exponent would fill the memory.
_HUGE = re.compile(r"[eE][+-]?[\d_]{4}")
# Of a value in a message.
_LONGEST = 80


def eps_text(eps: float) -> str:
    """A budget as people write it: "8/255" where that is short, else a decimal, as "0.3"."""
    decimal, levels = f"{eps:.10g}", f"{eps * 255:.10g}"
    return decimal if len(decimal) <= len(levels) else f"{levels}/255"


def parse_eps(text: str) -> float:
    """The number in "8/255" or "0.3"; ValueError if there is none."""
    try:
        if _HUGE.search(text):
            raise ValueError(text)
        numerator, _, denominator = text.partition("/")
        return float(Fraction(numerator.strip()) / Fraction(denominator.strip() or "1"))
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ValueError(f"a budget is a number or a fraction such as 8/255; got {text!r}") from None


def check_fields(instance: Any, path: str = "") -> None:
    """Raise ValueError unless every field of a dataclass holds what its annotation declares.

    Args:
        instance: of a dataclass; called in its `__post_init__`.
        path: where it stands in a configuration, such as "recipe", for messages.
    """
    for name, kind in _kinds(instance.__class__).items():
        check(f"{path}.{name}" if path else name, getattr(instance, name), kind)


def check(name: str, value: object, kind: Any) -> None:
    """Raise ValueError unless a value is what a type says, as in check("steps", steps, Count)."""
    wanted = _wanted(kind, value)
    if wanted:
        raise ValueError(f"{name} must be {wanted}; got {_shown(value)}")


def unknown(name: str, value: object, choices: Any) -> ValueError:
    """The error for a word that a Literal does not have, for code that torch compiles and `check` cannot be in."""
    return ValueError(f"{name} must be {_one_of(get_args(choices))}; got {_shown(value)}")


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.0) -> str:
    """The known names most like `name`, for messages about an unknown one.

    Args:
        name: what was given.
        known: the names that there are.
        count: at most so many of them.
        cutoff: the least similarity, in [0, 1]; 0 lists the nearest however far they are.
    Returns:
        "a, b, c", the nearest first; "" where none is left.
    """
    return ", ".join(get_close_matches(name, list(known), n=count, cutoff=cutoff))


@functools.cache
def _kinds(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in fields(cls)}


def _wanted(kind: Any, value: object) -> str:
    """What the value should have been, in words; "" where it is valid, or the type cannot be checked."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _wanted_number(parts[0], parts[1], value)
    if origin is Literal:
        return "" if isinstance(value, str) and value in parts else _one_of(parts)
    if origin in (Union, UnionType):
        # Classes are checked in unions alone, such as float | Tensor.
        wanted = [_wanted(part, value) or _wanted_class(part, value) for part in parts]
        return ", or ".join(wanted) if all(wanted) else ""
    if origin is tuple:
        return _wanted_items(parts, value)
    if kind is NoneType:
        return "" if value is None else "none"
    if kind is bool:
        return "" if isinstance(value, bool) else "true or false"
    return ""


def _wanted_class(kind: Any, value: object) -> str:
    return f"of type {kind.__name__}" if isinstance(kind, type) and not isinstance(value, kind) else ""


def _wanted_number(kind: type, allowed: Range, value: object) -> str:
    # To Python, True is the number 1.
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return "a whole number" if kind is int else "a number"
    if value in allowed:  # type: ignore[operator]
        return ""
    return str(allowed) if math.isfinite(value) or str(allowed).startswith(("finite", "in")) else f"finite, {allowed}"


def _wanted_items(parts: tuple[Any, ...], value: object) -> str:
    if not isinstance(value, tuple):
        return "a tuple"
    if Ellipsis in parts:
        parts = parts[:1] * len(value)
    if len(parts) != len(value):
        return f"{len(parts)} values"
    return next(filter(None, map(_wanted, parts, value)), "")


def _one_of(words: tuple[str, ...]) -> str:
    return f"one of {', '.join(words)}"


def _shown(value: object) -> str:
    return str(value) if isinstance(value, Real) else brief(value)


def brief(value: object) -> str:
    """A value as Python writes it, on one line; a long one is cut."""
    try:
        return cut(repr(value))
    except ValueError:  # Python writes no number of more than 4300 digits
        return f"a {type(value).__name__} with a number of thousands of digits"


def cut(text: object) -> str:
    """A text on one line, with ? for what would steer a terminal; a long one is cut."""
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(str(text).split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
