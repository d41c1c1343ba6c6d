"""Several stored results into one: shards of a test set, seeds of the attacks, two classifiers on the same images."""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Any

from advdpnp import result_files
from advdpnp.attacks import label
from advdpnp.evaluation.lone_attacks import with_lone_attack_warnings
from advdpnp.evaluation.verdicts import check_evaluated
from advdpnp.indices import short_indices
from advdpnp.metrics import mcnemar
from advdpnp.result_files import Verdicts, paired_fields
from advdpnp.runs import Json
from advdpnp.stored_values import differences


def merge_shards(parts: Sequence[Json]) -> Json:
    """As `advdpnp.result_files.merge_shards`; a ValueError, too, where too many images of all are unevaluated."""
    merged = with_lone_attack_warnings(result_files.merge_shards(parts))
    check_evaluated(merged)
    return merged


def over_seeds(results: Sequence[Json]) -> Json:
    """Mean, spread and count of the accuracies that several seeds of the attacks' noise have left.

    Args:
        results: contents of eval/<suite>.json, two or more, of the same network on the same images.
    Returns:
        `count`; `seeds`; `attacks`, for each attack, `worst_case`, and `corruptions`, the mean over them, where it was
        measured: `mean`, `spread` (sample standard deviation), fractions, and the `values` of the seeds; for attacks
        also the packed `verdicts` of each. Where images were
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
        **_corruptions(results),
    }


def _corruptions(results: Sequence[Json]) -> Json:
    if "corruptions" not in results[0]:
        return {}
    return {"corruptions": _summary([result["corruptions"]["mean_accuracy"] for result in results])}


def _where_any(name: str, values: list[Any]) -> Json:
    return {name: values} if any(values) else {}


def _summary(values: Sequence[float]) -> Json:
    return {"mean": fmean(values), "spread": stdev(values), "values": list(values)}


def _verdicts(result: Json) -> Iterator[tuple[str, Verdicts]]:
    n = result["n"]
    worst = Verdicts.read(result, n, "clean_verdicts")
    yield "clean", worst
    for row in result["attacks"]:
        if row.get("added"):
            continue
        found = Verdicts.read(row, n)
        yield label(row), found
        worst &= found
    yield "worst case", worst


def paired_test(first: Json, second: Json) -> list[Json]:
    """Exact McNemar test of two stored results, from their verdicts on the same images.

    Images that are unevaluated in either result are left out of both, and so are attacks that only one network had in
    addition to the suite (`advdpnp.evaluation.saturation`).

    Args:
        first, second: contents of eval/<suite>.json of two runs.
    Returns:
        One entry for clean images, each attack and the worst case: `name`; `first`, `second`, the accuracies;
        `only_first`, `only_second`, how many images one alone got right; `p`, the two-sided probability of so uneven a
        split if neither were better; `left_out`, how many images were unevaluated, where there are any.
    Raises:
        ValueError: the results are of different images, attacks or chunk shapes, or have no evaluated image in common.
    """
    alike = [paired_fields(one) | {"indices": short_indices(str(one.get("indices")))} for one in (first, second)]
    found = list(differences(alike[0], alike[1]))
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
        "first": float(a.mean()),
        "second": float(b.mean()),
        "only_first": int((a & ~b).sum()),
        "only_second": int((b & ~a).sum()),
        "p": mcnemar(a, b),
    } | ({"left_out": left_out} if left_out else {})
