"""One result from the results of interleaved parts, which several processes or machines have measured."""

from collections.abc import Sequence

import torch
from torch import Tensor

from advdpnp.metrics import pack, unpack, wilson
from advdpnp.runs import Json, differences

_SUMS = ("attacked", "broken", "unconfirmed", "seconds")
# What an attack's row says beside the attack itself: `budget` is the rest.
_MEASURED = (*_SUMS, "robust_accuracy", "interval95", "verdicts", "mean_cross_entropy", "largest_norm", "mean_norm",
             "chunk", "notes", "searches")  # fmt: skip
# What a part says of itself alone, and what it has measured.
_OWN = ("n", "indices", "shard", "environment", "warnings", "attacks", "clean_accuracy", "clean_interval95",
        "clean_cross_entropy", "clean_verdicts", "worst_case_accuracy", "worst_case_interval95")  # fmt: skip


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
        ValueError: the parts are not those of one evaluation.
    """
    first = parts[0]
    for number, part in enumerate(parts, start=1):
        if part["shard"] != [number, len(parts)]:
            raise ValueError(f"expected shard {number} of {len(parts)}; got {part['shard'][0]} of {part['shard'][1]}")
        if found := apart(first, part):
            raise ValueError(f"shard {number} is of another evaluation ({found}): measure it again")
    clean = _interleaved(parts, [part["clean_verdicts"] for part in parts])
    rows = [_row(parts, [part["attacks"][i] for part in parts]) for i in range(len(first["attacks"]))]
    n, worst = len(clean), clean.clone()
    for row in rows:
        worst &= unpack(row["verdicts"], n)
    loss = sum(part["clean_cross_entropy"] * part["n"] for part in parts) / n
    return {
        **{key: value for key, value in first.items() if key != "shard"},
        "n": n,
        "indices": f"0-{n - 1}",
        "shards": len(parts),
        **_accuracy("clean_accuracy", "clean_interval95", clean),
        "clean_cross_entropy": loss,
        "clean_verdicts": pack(clean),
        "attacks": rows,
        **_accuracy("worst_case_accuracy", "worst_case_interval95", worst),
    }


def _protocol(part: Json) -> Json:
    attacks = {str(place): budget(row) for place, row in enumerate(part["attacks"], start=1)}
    # Parts begin at images of their own, and end with the same set.
    images = part["indices"].partition("-")[2]
    return {key: value for key, value in part.items() if key not in _OWN} | {"images to": images, "attack": attacks}


def _interleaved(parts: Sequence[Json], packed: Sequence[str]) -> Tensor:
    whole = torch.zeros(sum(part["n"] for part in parts), dtype=torch.bool)
    for number, (part, bits) in enumerate(zip(parts, packed, strict=True)):
        whole[number :: len(parts)] = unpack(bits, part["n"])
    return whole


def _accuracy(name: str, interval: str, verdicts: Tensor) -> Json:
    right, n = int(verdicts.sum()), len(verdicts)
    return {name: right / n, interval: list(wilson(right, n))}


def _row(parts: Sequence[Json], rows: Sequence[Json]) -> Json:
    """One attack of all parts."""
    verdicts = _interleaved(parts, [row["verdicts"] for row in rows])
    merged = rows[0] | _accuracy("robust_accuracy", "interval95", verdicts) | {"verdicts": pack(verdicts)}
    merged |= {key: round(sum(row[key] for row in rows), 3) for key in _SUMS if key in rows[0]}
    if "mean_cross_entropy" in merged:
        losses = sum(row["mean_cross_entropy"] * part["n"] for row, part in zip(rows, parts, strict=True))
        merged["mean_cross_entropy"] = losses / len(verdicts)
    if "broken" in merged:
        norms = sum(row["mean_norm"] * row["broken"] for row in rows)
        merged["largest_norm"] = max(row["largest_norm"] for row in rows)
        merged["mean_norm"] = norms / merged["broken"] if merged["broken"] else 0.0
        merged["chunk"] = min(row["chunk"] for row in rows)
    if "searches" in merged:
        searches = zip(*(row["searches"] for row in rows), strict=True)
        merged["searches"] = [_row(parts, members) for members in searches]
    return merged
