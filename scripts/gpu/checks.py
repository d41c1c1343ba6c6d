"""Is a stored result whole: verdicts are counted again, and everything that follows from them."""

import math
from typing import Any

from torch import Tensor

from advdpnp.experiments import from_config
from advdpnp.metrics import unpack, wilson, worst_case
from advdpnp.results import SCHEMA, Accuracy
from advdpnp.runs import Json


def check_evaluation(result: Json) -> None:
    """Count the verdicts of an evaluation again.

    Raises:
        ValueError: what is not as its verdicts say; KeyError: an entry is missing.
    """
    if result["schema"] != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}; got {result['schema']}")
    n = result["n"]
    if result["indices"] != f"0-{n - 1}":
        raise ValueError(f"{n} images must be 0-{n - 1}; got {result['indices']}")
    clean = _counted("clean", unpack(result["clean_verdicts"], n), Accuracy.read(result, "clean"))
    all_verdicts = [clean]
    for row in result["attacks"]:
        all_verdicts.append(_counted(row["name"], unpack(row["verdicts"], n), Accuracy.read(row)))
        for search in row.get("searches", ()):
            _counted(f"{row['name']}: {search['name']}", unpack(search["verdicts"], n), Accuracy.read(search))
        if row["name"].startswith("autoattack") and bool((all_verdicts[-1] & ~clean).any()):
            raise ValueError(f"{row['name']}: images withstand it that are wrong without it")
    _counted("worst case", worst_case(all_verdicts), Accuracy.read(result, "worst case"))


def _counted(name: str, verdicts: Tensor, stored: Accuracy) -> Tensor:
    """The verdicts, whose accuracy and interval are those stored."""
    right, n = int(verdicts.sum()), len(verdicts)
    if not math.isclose(stored.value, right / n, abs_tol=1e-12):
        raise ValueError(f"{name}: accuracy {stored.value} where {right} of {n} verdicts are right")
    interval, expected = [stored.low, stored.high], wilson(right, n)
    if any(not math.isclose(a, b, abs_tol=1e-9) for a, b in zip(interval, expected, strict=True)):
        raise ValueError(f"{name}: interval {interval} where the verdicts give {list(expected)}")
    return verdicts


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
