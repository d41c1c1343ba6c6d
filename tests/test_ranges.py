"""What a declaration accepts, refuses, and says."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

import advdpnp
from advdpnp.ranges import Count, Integer, NonNegative, Range, Share, check, check_fields, nearest


@dataclass(frozen=True)
class Setting:
    share: Annotated[float, Range("[0, 1)", "a share of it")] = 0.5
    steps: Count = 1
    seed: Integer = 0
    limit: Count | None = None
    places: tuple[Annotated[float, Range("(0, 1]")], ...] = ()
    part: tuple[Count, Count] = (1, 1)
    norm: Literal["linf", "l2"] = "linf"
    flip: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "recipe.setting")


@pytest.mark.parametrize(
    "field, value, says",
    [
        ("share", 1, "recipe.setting.share must be in [0, 1), a share of it; got 1"),
        ("share", -1e-300, "recipe.setting.share must be in [0, 1), a share of it; got -1e-300"),
        ("share", math.nan, "recipe.setting.share must be in [0, 1), a share of it; got nan"),
        ("share", True, "recipe.setting.share must be a number; got True"),
        ("share", "0.5", "recipe.setting.share must be a number; got '0.5'"),
        ("steps", 0, "recipe.setting.steps must be at least 1; got 0"),
        ("steps", 2.0, "recipe.setting.steps must be a whole number; got 2.0"),
        ("steps", True, "recipe.setting.steps must be a whole number; got True"),
        ("seed", math.inf, "recipe.setting.seed must be a whole number; got inf"),
        ("limit", 0, "recipe.setting.limit must be at least 1, or none; got 0"),
        ("places", (0.5, 0.0), "recipe.setting.places must be in (0, 1]; got (0.5, 0.0)"),
        ("places", 0.5, "recipe.setting.places must be a tuple; got 0.5"),
        ("part", (1, 2, 3), "recipe.setting.part must be 2 values; got (1, 2, 3)"),
        ("part", (0, 2), "recipe.setting.part must be at least 1; got (0, 2)"),
        ("norm", "L2", "recipe.setting.norm must be one of linf, l2; got 'L2'"),
        ("norm", ["l2"], "recipe.setting.norm must be one of linf, l2; got ['l2']"),
        ("flip", "false", "recipe.setting.flip must be true or false; got 'false'"),
    ],
)
def test_what_is_not_declared_is_refused_in_one_line(field: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        replace(Setting(), **{field: value})
    assert str(refused.value) == says


def test_ends_belong_as_they_are_written_and_other_number_types_count() -> None:
    Setting(share=0, limit=3, places=(1.0, 5e-324), part=(1, 2), norm="l2", flip=True, seed=-(2**70))
    Setting(share=np.float32(0.25), steps=np.int64(3))  # type: ignore[arg-type]
    Setting(share=Fraction(1, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_what_has_no_upper_end_is_finite_still(value: float) -> None:
    with pytest.raises(ValueError, match=r"^eps must be finite, at least 0; got (inf|nan)$"):
        check("eps", value, NonNegative)
    with pytest.raises(ValueError, match=r"^eps must be in \[0, 1\]; got (inf|nan)$"):
        check("eps", value, Share)


def test_the_nearest_names_are_listed_most_alike_first() -> None:
    known = ("mart", "trades", "at", "adv-dpnp")
    assert nearest("trade", known, 1) == "trades"
    assert nearest("adv-dnp", known, 2).split(", ")[0] == "adv-dpnp"
    # However far: two of the letters of "zq" are in no name.
    assert nearest("zq", known, 2).count(", ") == 1
    assert nearest("zq", known, cutoff=0.5) == "" and nearest("at", ()) == ""


def test_only_one_module_searches_for_near_names() -> None:
    package = Path(advdpnp.__file__).parent
    assert [p.name for p in package.rglob("*.py") if "difflib" in p.read_text()] == ["ranges.py"]
