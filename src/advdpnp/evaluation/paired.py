"""Are two classifiers different on the same images?"""

from collections.abc import Iterator

from advdpnp.attacks import label
from advdpnp.evaluation.shards import budget
from advdpnp.evaluation.verdicts import Verdicts
from advdpnp.metrics import mcnemar
from advdpnp.runs import Json, differences


def _protocol(result: Json) -> Json:
    attacks = {str(place): budget(row) for place, row in enumerate(result["attacks"], start=1)}
    names = ("data", "suite", "indices", "chunk", "search_precision")
    return {name: result.get(name) for name in names} | {"attack": attacks}


def _verdicts(result: Json) -> Iterator[tuple[str, Verdicts]]:
    n = result["n"]
    worst = Verdicts.read({"verdicts": result["clean_verdicts"]}, n)
    yield "clean", worst
    for row in result["attacks"]:
        found = Verdicts.read(row, n)
        yield label(row), found
        worst &= found
    yield "worst case", worst


def paired_test(first: Json, second: Json) -> list[Json]:
    """Exact McNemar test of two stored results, from their verdicts on the same images.

    Images that are unevaluated in either result are left out of both.

    Args:
        first, second: contents of eval/<suite>.json of two runs.
    Returns:
        One entry for clean images, each attack and the worst case: `name`; `first`, `second`, the accuracies;
        `only_first`, `only_second`, how many images one alone got right; `p`, the two-sided probability of so uneven a
        split if neither were better; `left_out`, how many images were unevaluated, where there are any.
    Raises:
        ValueError: the results are of different images, attacks or chunk shapes, or have no evaluated image in common.
    """
    found = list(differences(_protocol(first), _protocol(second)))
    if found:
        raise ValueError(f"the runs were not evaluated alike ({'; '.join(found)}): evaluate both with the same options")
    pairs = zip(_verdicts(first), _verdicts(second), strict=True)
    return [_compared(name, found, other) for (name, found), (_, other) in pairs]


def _compared(name: str, first: Verdicts, second: Verdicts) -> Json:
    kept = ~(first.unevaluated | second.unevaluated)
    left_out = int((~kept).sum())
    if left_out == len(kept):
        raise ValueError(f"all {left_out} images are unevaluated in one of the runs ({name}): nothing can be compared")
    a, b = first.robust[kept], second.robust[kept]
    return {
        "name": name,
        "first": a.double().mean().item(),
        "second": b.double().mean().item(),
        "only_first": int((a & ~b).sum()),
        "only_second": int((b & ~a).sum()),
        "p": mcnemar(a, b),
    } | ({"left_out": left_out} if left_out else {})
