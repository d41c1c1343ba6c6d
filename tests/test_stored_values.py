"""Values that anyone may have written, against what annotations say of them."""

from typing import Any, Literal, TypedDict

import pytest

from advdpnp.stored_values import check_value, parsed, short_name, to_show


class Inner(TypedDict):
    counts: list[int]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, float), (1.5, float), (0, int), ("a", str), (None, int | None), (True, bool), ([1, 2], list[float]),
        ({"a": None, "b": 1}, dict[str, float | None]), ("x", Literal["x", "y"]), ({"counts": [1], "more": "x"}, Inner),
        ({"anything": [object()]}, Any), (2**63 - 1, int),
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
