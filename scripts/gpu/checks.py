"""Is a stored result whole: verdicts are counted again, and everything that follows from them."""

import math
from typing import Any

from torch import Tensor

from advdpnp.experiments import from_config
from advdpnp.metrics import unpack, wilson, worst_case
from advdpnp.runs import Json


def check_evaluation(result: Json) -> None:
    """Count the verdicts of an evaluation again.

    Raises:
        ValueError: what is not as its verdicts say; KeyError: an entry is missing.
    """
    if result["schema"] != 1:
        raise ValueError(f"schema must be 1; got {result['schema']}")
    n = result["n"]
    if result["indices"] != f"0-{n - 1}":
        raise ValueError(f"{n} images must be 0-{n - 1}; got {result['indices']}")
    clean = _counted(result, "clean", "clean_verdicts", "clean_accuracy", "clean_interval95", n)
    all_verdicts = [clean]
    for row in result["attacks"]:
        all_verdicts.append(_counted(row, row["name"], "verdicts", "robust_accuracy", "interval95", n))
        for search in row.get("searches", ()):
            _counted(search, f"{row['name']}: {search['name']}", "verdicts", "robust_accuracy", "interval95", n)
        if row["name"].startswith("autoattack") and bool((all_verdicts[-1] & ~clean).any()):
            raise ValueError(f"{row['name']}: images withstand it that are wrong without it")
    worst = worst_case(all_verdicts)
    _compare("worst case", worst, result["worst_case_accuracy"], result["worst_case_interval95"])


def _counted(row: Json, name: str, verdicts: str, accuracy: str, interval: str, n: int) -> Tensor:
    found = unpack(row[verdicts], n)
    _compare(name, found, row[accuracy], row[interval])
    return found


def _compare(name: str, verdicts: Tensor, accuracy: float, interval: "list[float]") -> None:
    right, n = int(verdicts.sum()), len(verdicts)
    if not math.isclose(accuracy, right / n, abs_tol=1e-12):
        raise ValueError(f"{name}: accuracy {accuracy} where {right} of {n} verdicts are right")
    expected = wilson(right, n)
    if any(not math.isclose(a, b, abs_tol=1e-9) for a, b in zip(interval, expected, strict=True)):
        raise ValueError(f"{name}: interval {interval} where the verdicts give {list(expected)}")


def check_training(config: Json, lines: "list[Json]", trained: bool) -> None:
    """The lines of a training: counted from 1, finite, and as many as the recipe has where it is said to be over.

    Raises:
        ValueError: what is wrong.
    """
    epochs = from_config(config).recipe.epochs
    numbers = [line["epoch"] for line in lines]
    if numbers != list(range(1, len(lines) + 1)):
        raise ValueError(f"epochs must be counted from 1; got {numbers}")
    if trained and len(lines) != epochs:
        raise ValueError(f"the training is said to be over after {epochs} epochs; got {len(lines)}")
    for line in lines:
        if line["epochs"] != epochs:
            raise ValueError(f"epoch {line['epoch']} is one of {line['epochs']}, but the recipe has {epochs}")
        if not all(_finite(value) for value in line["loss"].values()):
            raise ValueError(f"epoch {line['epoch']} has a loss that is not finite")


def _finite(value: Any) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)
