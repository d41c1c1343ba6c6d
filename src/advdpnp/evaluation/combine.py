"""Several stored results into one: shards of a test set, seeds of the attacks, two classifiers on the same images."""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Any

import torch

from advdpnp.attacks import label
from advdpnp.evaluation.verdicts import Verdicts, check_evaluated
from advdpnp.metrics import mcnemar, pack
from advdpnp.runs import Json, differences

_SUMS = ("attacked", "broken", "unconfirmed", "seconds")
# What an attack's row says beside the attack itself: `budget` is the rest.
_MEASURED = (*_SUMS, "robust_accuracy", "interval95", "verdicts", "unevaluated", "unevaluated_bits",
             "mean_cross_entropy", "mean_cross_entropy_images", "largest_norm", "mean_norm", "chunk", "notes",
             "searches")  # fmt: skip
# What a part says of itself alone, and what it has measured.
_OWN = ("n", "indices", "shard", "environment", "warnings", "attacks", "clean_accuracy", "clean_interval95",
        "clean_cross_entropy", "clean_cross_entropy_images", "clean_verdicts", "worst_case_accuracy",
        "worst_case_interval95", "worst_case_unevaluated")  # fmt: skip


def budget(row: Json) -> Json:
    """The attack that a row of a result is of, as `advdpnp.attacks.record` describes it."""
    return {key: value for key, value in row.items() if key not in _MEASURED}


def apart(first: Json, second: Json) -> str:
    """In what two parts are not of one evaluation, in words; "" if they are."""
    return "; ".join(differences(_protocol(first), _protocol(second)))


def merge_shards(parts: Sequence[Json]) -> Json:
    """The result that one process would have written.

    Args:
        parts: contents of all m shards' files, the k-th shard at place k - 1.
    Returns:
        Content of eval/<suite>.json; its verdicts are those of a run without shards, `seconds` are summed.
    Raises:
        ValueError: the parts are not those of one evaluation; as `check_evaluated`, if too many images are unevaluated.
    """
    first = parts[0]
    for number, part in enumerate(parts, start=1):
        if part["shard"] != [number, len(parts)]:
            raise ValueError(f"expected shard {number} of {len(parts)}; got {part['shard'][0]} of {part['shard'][1]}")
        if found := apart(first, part):
            raise ValueError(f"shard {number} is of another evaluation ({found}): measure it again")
    clean = _interleaved(parts, [{"verdicts": part["clean_verdicts"]} for part in parts])
    rows = [_row(parts, [part["attacks"][i] for part in parts]) for i in range(len(first["attacks"]))]
    n, worst = len(clean.robust), clean
    for row in rows:
        worst &= Verdicts.read(row, n)
    unevaluated = int(worst.unevaluated.sum())
    own = ("shard", "clean_cross_entropy_images", "worst_case_unevaluated")
    merged = {
        **{key: value for key, value in first.items() if key not in own},
        "n": n,
        "indices": f"0-{n - 1}",
        "shards": len(parts),
        **clean.accuracy("clean_accuracy", "clean_interval95"),
        **_cross_entropy(parts, parts, "clean_"),
        "clean_verdicts": pack(clean.robust),
        "attacks": rows,
        **worst.accuracy("worst_case_accuracy", "worst_case_interval95"),
        **({"worst_case_unevaluated": unevaluated} if unevaluated else {}),
    }
    check_evaluated(merged)
    return merged


def _protocol(part: Json) -> Json:
    attacks = {str(place): budget(row) for place, row in enumerate(part["attacks"], start=1)}
    # Parts begin at images of their own, and end with the same set.
    images = part["indices"].partition("-")[2]
    return {key: value for key, value in part.items() if key not in _OWN} | {"images to": images, "attack": attacks}


def _interleaved(parts: Sequence[Json], rows: Sequence[Json]) -> Verdicts:
    nothing = torch.zeros(sum(part["n"] for part in parts), dtype=torch.bool)
    whole = Verdicts(nothing, nothing.clone())
    for number, (part, row) in enumerate(zip(parts, rows, strict=True)):
        found = Verdicts.read(row, part["n"])
        whole.robust[number :: len(parts)] = found.robust
        whole.unevaluated[number :: len(parts)] = found.unevaluated
    return whole


def _cross_entropy(parts: Sequence[Json], rows: Sequence[Json], prefix: str) -> Json:
    """The mean over the images of all parts, as `Entry.mean_cross_entropy` gives it of one."""
    name, n = f"{prefix}cross_entropy", sum(part["n"] for part in parts)
    counts: list[Any] = [row.get(f"{name}_images", part["n"]) for part, row in zip(parts, rows, strict=True)]
    finite = sum(counts)
    total = sum(float(row[name]) * count for row, count in zip(rows, counts, strict=True) if count)
    return {name: total / finite if finite else None} | ({f"{name}_images": finite} if finite < n else {})


def _row(parts: Sequence[Json], rows: Sequence[Json]) -> Json:
    """One attack of all parts."""
    verdicts = _interleaved(parts, rows)
    own = ("unevaluated", "unevaluated_bits", "mean_cross_entropy_images")
    merged = {key: value for key, value in rows[0].items() if key not in own} | verdicts.accuracy() | verdicts.bits()
    merged |= {key: round(sum(row[key] for row in rows), 3) for key in _SUMS if key in rows[0]}
    if "mean_cross_entropy" in merged:
        merged |= _cross_entropy(parts, rows, "mean_")
    if "broken" in merged:
        norms = sum(row["mean_norm"] * row["broken"] for row in rows)
        merged["largest_norm"] = max(row["largest_norm"] for row in rows)
        merged["mean_norm"] = norms / merged["broken"] if merged["broken"] else 0.0
        merged["chunk"] = min(row["chunk"] for row in rows)
    if "searches" in merged:
        searches = zip(*(row["searches"] for row in rows), strict=True)
        merged["searches"] = [_row(parts, members) for members in searches]
    return merged


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


def _measured_alike(result: Json) -> Json:
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
    found = list(differences(_measured_alike(first), _measured_alike(second)))
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
