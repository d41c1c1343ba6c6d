"""What the nested values of a stored evaluation hold, as far as anything reads them; further keys are free."""

import base64
import binascii
from collections.abc import Mapping
from itertools import pairwise
from statistics import fmean
from typing import Any, NotRequired, TypedDict

from advdpnp.ranges import Count, Degrees, Natural, NonNegative, Share, brief
from advdpnp.stored_values import check_value

_ROUNDING = 1e-9
_OF_FLOAT32 = 1e-6
# Of a name; folders and files are made of them.
_LONGEST_NAME = 255
_Radius = NonNegative | None
Quantiles = TypedDict(
    "Quantiles", {"0.05": _Radius, "0.25": _Radius, "0.5": _Radius, "0.75": _Radius, "0.95": _Radius}
)  # fmt: skip


# The geometry that every version measures, in clean and attacked features and of class centers.
_RATIOS = ("fdr_eq8", "fdr_trace_ratio", "fdr_trace_ratio_per_class", "afs", "scr", "scr_floor")
_ANGLES = ("mean_separation_degrees", "mean_pairwise_angle_degrees", "min_separation_degrees")
_METRICS: dict[str, Any] = dict.fromkeys(_RATIOS, NonNegative | None) | dict.fromkeys(_ANGLES, Degrees | None)


class RadiusCurve(TypedDict):
    """Robust accuracy at radii from 0 to eps."""

    eps: list[NonNegative]
    robust_accuracy: list[Share]


class SmallestEps(TypedDict):
    """See `advdpnp.radii.radius_fields`."""

    correct: Natural
    censored: Natural
    median: NonNegative | None
    mean: NonNegative | None
    quantiles: Quantiles
    curve: NotRequired[RadiusCurve]


Targeted = TypedDict(
    "Targeted", {"class": Natural, "images": Natural, "reached": NotRequired[Natural], "success": NotRequired[Share],
                 "interval95": NotRequired[list[float]]}
)  # fmt: skip


class Tier(TypedDict):
    """What the first searches of an attack are by themselves."""

    name: str
    robust_accuracy: Share
    interval95: list[float]
    verdicts: NotRequired[str]


class Transfer(TypedDict):
    """Where images are crafted: the network's name, and the SHA-256 of its weights."""

    source: str
    weights: str


class Summary(TypedDict):
    """Of one accuracy over seeds."""

    mean: Share
    spread: NonNegative


class Seeds(TypedDict):
    """See `advdpnp.evaluation.over_seeds`."""

    count: Count
    worst_case: Summary


class Corruptions(TypedDict):
    """See `advdpnp.result_files.corruption_fields`."""

    right: dict[str, list[Natural]]
    mean_accuracy: Share
    interval95: list[float]
    severity_accuracy: list[Share]
    corruption_accuracy: dict[str, Share]


class Environment(TypedDict, total=False):
    """What a result was made with; all of it is shown, whatever it is."""

    command: str
    threads: Count


def check_names(stored: Mapping[str, Any], *names: str) -> None:
    """ValueError where a text that names something is longer than any name."""
    for name in names:
        if isinstance(stored.get(name), str) and len(stored[name]) > _LONGEST_NAME:
            raise ValueError(f"{name} is a text of {len(stored[name]):,} characters")


def check_interval(name: str, value: list[Any], share: float) -> None:
    """ValueError unless these are two fractions, the lower first, with the share between them that they are of."""
    ordered = [0, *value[:1], share, *value[1:], 1]
    if len(value) != 2 or any(second < first - _ROUNDING for first, second in pairwise(ordered)):
        raise ValueError(f"{name} is {brief(value)}, no pair of numbers in [0, 1] around {share!r}")


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


def check_worst_case(found: Mapping[str, Any], left: list[float]) -> None:
    """ValueError where more images are right in the worst case than without an attack, or than one attack left."""
    worst, least = found["worst_case_accuracy"], min([found["clean_accuracy"], *left])
    if (worst - least) * found["n"] > 0.5:
        raise ValueError(f"worst_case_accuracy is {worst!r}, above {least!r}")


def check_corruptions(found: Mapping[str, Any], n: int) -> None:
    """ValueError unless every corruption has a number for every severity, none above the n images."""
    severities = len(found["severity_accuracy"])
    if not found["right"] or not severities or found["right"].keys() != found["corruption_accuracy"].keys():
        raise ValueError("corruptions have other names under right than under corruption_accuracy, or none")
    for name, right in found["right"].items():
        if len(right) != severities or max(right) > n:
            raise ValueError(f"corruptions.right.{name} is {brief(right)}: no count of {n} images for each severity")
    rows = list(found["right"].values())
    of_counts = [
        (found["mean_accuracy"], [count for row in rows for count in row]),
        *zip(found["severity_accuracy"], zip(*rows, strict=True), strict=True),
        *((found["corruption_accuracy"][name], row) for name, row in found["right"].items()),
    ]
    for share, counts in of_counts:
        if abs(share - fmean(counts) / n) > _ROUNDING:
            raise ValueError(
                f"an accuracy of corruptions is {share!r}; the counts under right say {fmean(counts) / n!r}"
            )
    check_interval("corruptions.interval95", found["interval95"], found["mean_accuracy"])


def check_targeted(found: Mapping[str, Any], n: int) -> None:
    """ValueError unless at most all n images were aimed at, and of these at most all reached."""
    if not found.get("reached", 0) <= found["images"] <= n:
        raise ValueError(f"targeted has {found.get('reached')} reached of {found['images']} images, of {n} in all")
    if "interval95" in found:
        check_interval("targeted.interval95", found["interval95"], found["success"])


def check_smallest_eps(found: Mapping[str, Any], n: int, eps: float) -> None:
    """ValueError unless the counts are of n images, and no radius is beyond the largest that was tried."""
    if not found["censored"] <= found["correct"] <= n:
        raise ValueError(f"smallest_eps has {found['censored']} censored of {found['correct']} right images, of {n}")
    curve = found.get("curve", {"eps": [], "robust_accuracy": []})
    if len(curve["eps"]) != len(curve["robust_accuracy"]):
        raise ValueError("smallest_eps.curve has lists of two lengths")
    quantiles = [radius for radius in found["quantiles"].values() if radius is not None]
    radii = [found["median"] or 0.0, found["mean"] or 0.0, *quantiles, *curve["eps"]]
    # Radii are of float32, and eps is a fraction.
    if max(radii) > eps * (1 + _OF_FLOAT32) or quantiles != sorted(quantiles):
        raise ValueError(f"smallest_eps has a radius of {max(radii)!r} above {eps!r}, or quantiles that do not ascend")


def check_geometry(geometry: Mapping[str, Any]) -> None:
    """TypeError unless what every version measures, and what declares itself, is a number or null."""
    check_value("geometry.declared", geometry.get("declared", {}), dict[str, dict[str, str]])
    kinds = dict.fromkeys(geometry.get("declared", {}), float | None) | _METRICS
    for side in ("clean", "adversarial"):
        measured = geometry.get(side, {})
        check_value(f"geometry.{side}", measured, dict[str, Any])
        check_value(f"geometry.{side}.attack", measured.get("attack", ""), str)
        _check_numbers(f"geometry.{side}", measured, kinds)
    _check_numbers("geometry", geometry, kinds)


def _check_numbers(where: str, measured: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name in sorted(kinds.keys() & measured.keys()):
        check_value(f"{where}.{name}", measured[name], kinds[name])
