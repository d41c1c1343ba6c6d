"""Values that anyone may have written, against what annotations say of them."""

from typing import Any, Literal, NotRequired, TypedDict

import pytest

from advdpnp.ranges import Count, Degrees, Share
from advdpnp.stored_values import check_value, parsed, short_name, to_show


class Inner(TypedDict):
    counts: list[int]


class OptionalAngle(TypedDict):
    angle: NotRequired[Degrees]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, float), (1.5, float), (0, int), ("a", str), (None, int | None), (True, bool), ([1, 2], list[float]),
        ({"a": None, "b": 1}, dict[str, float | None]), ("x", Literal["x", "y"]), ({"counts": [1], "more": "x"}, Inner),
        ({"anything": [object()]}, Any), (2**63 - 1, int), (1, Share), (0.0, Share), (1, Count),
        (1 + 2**-50, Share), (None, Share | None), ([180.0, None], list[Degrees | None]),
    ],
)  # fmt: skip
def test_what_an_annotation_says_is_taken(value: Any, kind: Any) -> None:
    check_value("it", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        # To Python, True is a number.
        (True, int, "it is True"),
        (True, float, "it is True"),
        (1.5, int, "it is 1.5"),
        (float("nan"), float, "it is nan"),
        (10**400, float, "it is 1000"),
        ("1", float, "it is '1'"),
        ("z", Literal["x", "y"], "it is 'z'"),
        ([1, "x"], list[int], r"it\[1\] is 'x'"),
        ({"a": []}, dict[str, float | None], r"it.a is \[\]"),
        ({}, Inner, "it has no 'counts'"),
        ({"counts": [None]}, Inner | None, r"it.counts\[0\] is None"),
        (3, Inner | None, "it is 3"),
        ("x" * 10_000, int, r"it is 'x{79}\.\.\."),
        (1.001, Share, r"it is 1.001, not in \[0, 1\]$"),
        (-1e-6, Share | None, r"it is -1e-06, not in \[0, 1\]$"),
        ("x", Share, "it is 'x'$"),
        (True, Count, "it is True$"),
        (0, Count, "it is 0, not at least 1$"),
        ({"a": [90.0, 181]}, dict[str, list[Degrees]], r"it.a\[1\] is 181, not in \[0, 180\]$"),
        ({"angle": -1.0}, OptionalAngle, r"it.angle is -1.0, not in \[0, 180\]$"),
    ],
)
def test_what_it_does_not_say_is_named(value: Any, kind: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=f"^{problem}"):
        check_value("it", value, kind)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[1e999]", "[" * 100_000, "", "\ufeff{}"])
def test_json_without_surprises(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|nested|Expecting|BOM"):
        parsed(text)


def test_controls_are_replaced_where_texts_are_shown() -> None:
    text = '{"a\\u0000": ["\\u202ex", "\\ud800", "\\ud83d\\ude00", "tab\\t"]}'
    assert to_show(parsed(text)) == {"a\ufffd": ["\ufffdx", "\ufffd", "\U0001f600", "tab\t"]}
    assert parsed(text) == {"a\0": ["\u202ex", "\ud800", "\U0001f600", "tab\t"]}


def test_long_names_that_differ_stay_apart() -> None:
    first, second = (short_name("x" * 100 + end) for end in "ab")
    assert first != second and len(first) == len(second) <= 60 and short_name("a \n b") == "a b"


def test_values_lie_64_deep_and_no_deeper() -> None:
    assert parsed("[" * 64 + "]" * 64) and parsed('{"a":' * 63 + "[]" + "}" * 63)
    for text in ("[" * 65 + "1" + "]" * 65, '{"a":' * 65 + "1" + "}" * 65, "[" * 500 + "]" * 500):
        with pytest.raises(ValueError, match="nested too deeply"):
            parsed(text)


def test_a_number_of_thousands_of_digits_is_named_shortly() -> None:
    with pytest.raises(ValueError, match=r"^9{20}\.\.\. is no number of JSON$"):
        parsed("9" * 5000)
