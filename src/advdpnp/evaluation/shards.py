"""One result from the results of interleaved parts, which several processes or machines have measured."""

from collections.abc import Sequence
from typing import Any

import torch

from advdpnp.evaluation.verdicts import Verdicts, check_evaluated
from advdpnp.metrics import pack
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
