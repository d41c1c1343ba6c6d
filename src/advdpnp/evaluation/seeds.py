"""How much an attack's result depends on its random numbers."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from advdpnp.attacks import label
from advdpnp.runs import Json


def over_seeds(results: Sequence[Json]) -> Json:
    """Mean, spread and count of the accuracies that several seeds of the attacks' noise have left.

    Args:
        results: contents of eval/<suite>.json, two or more, of the same network on the same images.
    Returns:
        `count`; `seeds`; `attacks`, for each attack, and `worst_case`: `mean`, `spread` (sample standard deviation),
        fractions, and the `values` of the seeds; for attacks also the packed `verdicts` of each. Where images were
        unevaluated, how many with each seed (`unevaluated`), and for attacks which (`unevaluated_bits`, "" for none).
    """
    attacks = [
        {"name": label(rows[0])}
        | _summary([row["robust_accuracy"] for row in rows])
        | {"verdicts": [row["verdicts"] for row in rows]}
        | _where_any("unevaluated", [row.get("unevaluated", 0) for row in rows])
        | _where_any("unevaluated_bits", [row.get("unevaluated_bits", "") for row in rows])
        for rows in zip(*(result["attacks"] for result in results), strict=True)
    ]
    return {
        "count": len(results),
        "seeds": [result["seed"] for result in results],
        "attacks": attacks,
        "worst_case": _summary([result["worst_case_accuracy"] for result in results])
        | _where_any("unevaluated", [result.get("worst_case_unevaluated", 0) for result in results]),
    }


def _where_any(name: str, values: list[Any]) -> Json:
    return {name: values} if any(values) else {}


def _summary(values: Sequence[float]) -> Json:
    return {"mean": fmean(values), "spread": stdev(values), "values": list(values)}
