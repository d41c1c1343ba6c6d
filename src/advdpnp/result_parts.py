"""What the nested values of a stored evaluation hold, as far as anything reads them; further keys are free."""

import base64
import binascii
from collections.abc import Mapping, Set
from typing import Any, NotRequired, TypedDict

from advdpnp.stored_values import check_value

_ROUNDING = 1e-9
# Of a name; folders and files are made of them.
_LONGEST_NAME = 255
Quantiles = TypedDict(
    "Quantiles", {"0.05": float | None, "0.25": float | None, "0.5": float | None, "0.75": float | None,
                  "0.95": float | None}
)  # fmt: skip


# The geometry that every version measures, in clean and attacked features and of class centers.
_METRICS = frozenset({
    "fdr_eq8", "fdr_trace_ratio", "fdr_trace_ratio_per_class", "afs", "scr", "scr_floor", "mean_separation_degrees",
    "mean_pairwise_angle_degrees", "min_separation_degrees",
})  # fmt: skip


class RadiusCurve(TypedDict):
    """Robust accuracy at radii from 0 to eps."""

    eps: list[float]
    robust_accuracy: list[float]


class SmallestEps(TypedDict):
    """See `advdpnp.radii.radius_fields`."""

    correct: int
    censored: int
    median: float | None
    mean: float | None
    quantiles: Quantiles
    curve: NotRequired[RadiusCurve]


Targeted = TypedDict(
    "Targeted", {"class": int, "images": int, "reached": NotRequired[int], "success": NotRequired[float],
                 "interval95": NotRequired[list[float]]}
)  # fmt: skip


class Tier(TypedDict):
    """What the first searches of an attack are by themselves."""

    name: str
    robust_accuracy: float
    interval95: list[float]
    verdicts: NotRequired[str]


class Transfer(TypedDict):
    """Where images are crafted: the network's name, and the SHA-256 of its weights."""

    source: str
    weights: str


class Summary(TypedDict):
    """Of one accuracy over seeds."""

    mean: float
    spread: float


class Seeds(TypedDict):
    """See `advdpnp.evaluation.over_seeds`."""

    count: int
    worst_case: Summary


class Corruptions(TypedDict):
    """See `advdpnp.result_files.corruption_fields`."""

    right: dict[str, list[int]]
    mean_accuracy: float
    interval95: list[float]
    severity_accuracy: list[float]
    corruption_accuracy: dict[str, float]


class Environment(TypedDict, total=False):
    """What a result was made with; all of it is shown, whatever it is."""

    command: str


def check_names(stored: Mapping[str, Any], *names: str) -> None:
    """ValueError where a text that names something is longer than any name."""
    for name in names:
        if isinstance(stored.get(name), str) and len(stored[name]) > _LONGEST_NAME:
            raise ValueError(f"{name} is a text of {len(stored[name]):,} characters")


def check_share(name: str, value: float) -> None:
    """ValueError unless it is a fraction of images."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}, no fraction in [0, 1]")


def check_interval(name: str, value: list[Any]) -> None:
    """ValueError unless these are two fractions, the lower first."""
    if len(value) != 2 or not -_ROUNDING <= value[0] <= value[1] <= 1 + _ROUNDING:
        raise ValueError(f"{name} is {value!r}, no pair of numbers in [0, 1]")


def check_packed(name: str, text: str, expected: int) -> bytes:
    """The bytes of a text in base64; ValueError unless they are as many as the images take."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name} is no base64") from None
    if len(raw) != expected:
        raise ValueError(f"{name} has {len(raw)} bytes, and the images of this result take {expected}")
    return raw


def check_verdicts(row: Mapping[str, Any], n: int, name: str, accuracy: float) -> None:
    """ValueError unless packed verdicts, where there are any, are those of n images of such an accuracy."""
    if not row.get(name):
        return
    robust = int.from_bytes(check_packed(name, row[name], -(-n // 8)), "big").bit_count()
    if abs(robust - accuracy * n) > 0.5:
        raise ValueError(f"{name} say that {robust} of {n} images are right, and the accuracy is {accuracy!r}")


def check_corruptions(found: Mapping[str, Any], n: int) -> None:
    """ValueError unless every corruption has a number for every severity, none above the n images."""
    severities = len(found["severity_accuracy"])
    if not found["right"] or not severities or found["right"].keys() != found["corruption_accuracy"].keys():
        raise ValueError("corruptions have other names under right than under corruption_accuracy, or none")
    for name, right in found["right"].items():
        if len(right) != severities or not all(0 <= count <= n for count in right):
            raise ValueError(f"corruptions.right.{name} is {right!r}: no count of {n} images for each severity")
    for share in (found["mean_accuracy"], *found["severity_accuracy"], *found["corruption_accuracy"].values()):
        check_share("an accuracy of corruptions", share)
    check_interval("corruptions.interval95", found["interval95"])


def check_geometry(geometry: Mapping[str, Any]) -> None:
    """TypeError unless what every version measures, and what declares itself, is a number or null."""
    check_value("geometry.declared", geometry.get("declared", {}), dict[str, dict[str, str]])
    names = _METRICS | geometry.get("declared", {}).keys()
    for side in ("clean", "adversarial"):
        measured = geometry.get(side, {})
        check_value(f"geometry.{side}", measured, dict[str, Any])
        check_value(f"geometry.{side}.attack", measured.get("attack", ""), str)
        _check_numbers(f"geometry.{side}", measured, names)
    _check_numbers("geometry", geometry, names)


def _check_numbers(where: str, measured: Mapping[str, Any], names: Set[str]) -> None:
    for name in sorted(names & measured.keys()):
        check_value(f"{where}.{name}", measured[name], float | None)
