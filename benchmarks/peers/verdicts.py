"""What a measurement says: ratios, shares of the ceiling, and which floors hold; no ratio without equal strength."""

import math
import statistics
from collections.abc import Iterator
from typing import Any

from advdpnp.runs import Json
from peers.floors import FLOORS, Floor

# How far robust accuracy (a fraction) and mean loss (of itself) of two sides may lie apart, beyond two standard errors
# of the difference of their rounds: random starts differ from side to side.
ACCURACY_BOUND, LOSS_BOUND = 0.03, 0.03


def difference(a: Json, b: Json) -> str:
    """Why two sides' images are not equally strong; "" if they are."""
    accuracies = [statistics.fmean(row["robust_accuracy"]) for row in (a, b)]
    if abs(accuracies[0] - accuracies[1]) > ACCURACY_BOUND + _chance(a, b, "robust_accuracy"):
        return f"robust accuracy {accuracies[0]:.1%} and {accuracies[1]:.1%}"
    if "mean_loss" in a and "mean_loss" in b:
        losses = [statistics.fmean(row["mean_loss"]) for row in (a, b)]
        if abs(losses[0] - losses[1]) > LOSS_BOUND * max(losses) + _chance(a, b, "mean_loss"):
            return f"mean loss {losses[0]:.3f} and {losses[1]:.3f}"
    return ""


def _chance(a: Json, b: Json, key: str) -> float:
    """Two standard errors of the difference of two means; 0 where a side has one round."""
    variances = [statistics.variance(row[key]) / len(row[key]) for row in (a, b) if len(row[key]) > 1]
    return 2 * math.sqrt(sum(variances))


def ratios(ours: Json, theirs: Json) -> list[float]:
    """Their seconds over ours, round by round, since what disturbs a round disturbs both."""
    return [b / a for a, b in zip(ours["seconds"], theirs["seconds"])]


def shares(group: Json, side: Json) -> list[float]:
    """Necessary operations a second, over the ceiling of the same precision, round by round."""
    work = group["gflop_per_image"] * group["images"] / 1000
    ceiling = group["ceilings"][side["precision"]]["tflop_per_second"]
    return [work / seconds / ceiling for seconds in side["seconds"]]


def measured(row: Json) -> bool:
    """Whether a side has been timed."""
    return bool(row.get("seconds"))


def judged(result: Json) -> Iterator[Json]:
    """For each floor whose group was measured: value, spread, and whether it holds.

    "verdict" is "red" under the floor, "floor" on or above it, "target" on or above that, "unjudged" where this
    processor has no floor, and "refused", with a reason, where there is no ratio.
    """
    for floor in FLOORS:
        group = result["groups"].get(floor.group)
        ours = group and group["sides"].get("ours" if floor.precision == "fp32" else f"ours, {floor.precision}")
        if ours:
            yield {"name": floor.name, "precision": floor.precision} | _judged(result, floor, group, ours)


def _judged(result: Json, floor: Floor, group: Json, ours: Json) -> Json:
    least = _floor_here(floor, result["machine"])
    found: Json = {"floor": least, "target": floor.target, "unit": "x" if floor.against else "%"}
    theirs = group["sides"].get(floor.against, {})
    if not measured(ours) or (floor.against and not measured(theirs)):
        return found | {"verdict": "refused", "reason": ours.get("error") or theirs.get("error") or "not measured"}
    reference = theirs if floor.against else _reference(group)
    if why := difference(ours, reference):
        return found | {"verdict": "refused", "reason": why}
    values = ratios(ours, theirs) if floor.against else shares(group, ours)
    value = statistics.median(values)
    found |= {"value": round(value, 4), "least": round(min(values), 4), "most": round(max(values), 4)}
    return found | {"verdict": _verdict(value, least, floor.target)}


def _verdict(value: float, floor: float | None, target: float) -> str:
    if floor is None:
        return "unjudged"
    if value < floor:
        return "red"
    return "target" if value >= target else "floor"


def _reference(group: Json) -> Json:
    """The side whose images the others' are held against: the first that was measured."""
    reference: Json = next(row for row in group["sides"].values() if measured(row))
    return reference


def _floor_here(floor: Floor, machine: dict[str, Any]) -> float | None:
    if floor.precision == "fp32" or "amx_bf16" in machine["cpu_instructions"]:
        return floor.floor
    return floor.without_amx if machine["bf16_instructions"] else None
