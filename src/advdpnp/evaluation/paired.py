"""Are two classifiers different on the same images?"""

from collections.abc import Iterator

from torch import Tensor

from advdpnp.attacks import label
from advdpnp.evaluation.shards import budget
from advdpnp.metrics import mcnemar, unpack, worst_case
from advdpnp.runs import Json, differences


def _protocol(result: Json) -> Json:
    attacks = {str(place): budget(row) for place, row in enumerate(result["attacks"], start=1)}
    names = ("data", "suite", "indices", "chunk", "search_precision")
    return {name: result.get(name) for name in names} | {"attack": attacks}


def _verdicts(result: Json) -> Iterator[tuple[str, Tensor]]:
    n = result["n"]
    rows = [("clean", unpack(result["clean_verdicts"], n))]
    for row in result["attacks"]:
        rows.append((label(row), unpack(row["verdicts"], n)))
    yield from rows
    yield "worst case", worst_case([verdicts for _, verdicts in rows])


def paired_test(first: Json, second: Json) -> list[Json]:
    """Exact McNemar test of two stored results, from their verdicts on the same images.

    Args:
        first, second: contents of eval/<suite>.json of two runs.
    Returns:
        One entry for clean images, each attack and the worst case: `name`; `first`, `second`, the accuracies;
        `only_first`, `only_second`, how many images one alone got right; `p`, the two-sided probability of so uneven a
        split if neither were better.
    Raises:
        ValueError: the results are of different images, attacks or chunk shapes.
    """
    found = list(differences(_protocol(first), _protocol(second)))
    if found:
        raise ValueError(f"the runs were not evaluated alike ({'; '.join(found)}): evaluate both with the same options")
    return [
        {
            "name": name,
            "first": a.double().mean().item(),
            "second": b.double().mean().item(),
            "only_first": int((a & ~b).sum()),
            "only_second": int((b & ~a).sum()),
            "p": mcnemar(a, b),
        }
        for (name, a), (_, b) in zip(_verdicts(first), _verdicts(second), strict=True)
    ]
