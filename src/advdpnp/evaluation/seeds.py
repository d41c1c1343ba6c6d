"""How much an attack's result depends on its random numbers."""

from collections.abc import Sequence
from statistics import fmean, stdev

from advdpnp.attacks import label
from advdpnp.runs import Json


def over_seeds(results: Sequence[Json]) -> Json:
    """Mean, spread and count of the accuracies that several seeds of the attacks' noise have left.

    Args:
        results: contents of eval/<suite>.json, two or more, of the same network on the same images.
    Returns:
        `count`; `seeds`; `attacks`, for each attack, and `worst_case`: `mean`, `spread` (sample standard deviation),
        fractions, and the `values` of the seeds; for attacks also the packed `verdicts` of each.
    """
    attacks = [
        {"name": label(rows[0])}
        | _summary([row["robust_accuracy"] for row in rows])
        | {"verdicts": [row["verdicts"] for row in rows]}
        for rows in zip(*(result["attacks"] for result in results), strict=True)
    ]
    return {
        "count": len(results),
        "seeds": [result["seed"] for result in results],
        "attacks": attacks,
        "worst_case": _summary([result["worst_case_accuracy"] for result in results]),
    }


def _summary(values: Sequence[float]) -> Json:
    return {"mean": fmean(values), "spread": stdev(values), "values": list(values)}
