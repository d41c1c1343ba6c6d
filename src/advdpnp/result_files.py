"""How a stored evaluation is written: its files, packed verdicts, accuracies, and shards merged into the whole.

What its fields are is declared in `advdpnp.results`. Nothing here needs torch.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from advdpnp.checksums import unsealed
from advdpnp.declared_fields import declared
from advdpnp.folder_names import check_name
from advdpnp.indices import of_whole, short_indices, whole_text
from advdpnp.radii import Radii, radius_fields, unpack_radii
from advdpnp.ranges import parse_eps
from advdpnp.results import (
    ACCURACIES,
    PARTIAL,
    SCHEMA,
    AttackResult,
    EvaluationResult,
    Of,
    attack_of,
    read_evaluation,
)
from advdpnp.runs import Json, Run, checked, read_json
from advdpnp.same_weights import check_weights
from advdpnp.stored_values import differences

# The standard normal distribution has 95 % of its mass within this distance of 0.
_Z95 = 1.959963984540054

# (n,) bool: an array of numpy or a tensor of torch, on the CPU.
Bits = Any


@dataclass(frozen=True)
class ResultFiles:
    """Where an evaluation of a run lies.

    Args:
        run: the run's folder.
        name: as `result_name` gives it.
    """

    run: Run
    name: str

    def __post_init__(self) -> None:
        check_name("the name of a result", self.name)

    @property
    def result(self) -> Path:
        """eval/<name>.json."""
        return self.run.eval_path(f"{self.name}.json")

    def shard(self, part: int, parts: int) -> Path:
        """Of the `part`-th of `parts` interleaved parts, from 1."""
        return self.run.eval_path(f"shards/{self.name}.{part}-of-{parts}.json")

    def partial(self, seed: int, part: int = 1, parts: int = 1) -> Path:
        """Where an unfinished evaluation with one seed of the attacks, or an unfinished shard, is kept."""
        if parts > 1:
            return self.shard(part, parts).with_suffix(PARTIAL)
        return self.run.eval_path(f"{self.name}{f'.seed-{seed}' if seed else ''}{PARTIAL}")

    def read(self) -> Json:
        """The stored evaluation as it is; FileNotFoundError where none is, ValueError: damaged, or of other weights."""
        if not self.result.is_file():
            command = f"advdpnp evaluate {self.run.folder} --suite {self.name}"
            raise FileNotFoundError(f"no result at {self.result}: run `{command}` first")
        stored = read_stored(self.result)
        check_weights(self.run, self.result, stored["checkpoint"], stored.get("weights", ""))
        return stored


def read_stored(path: Path, cure: str = "evaluate the run again") -> Json:
    """A stored evaluation as the JSON that it is, for those who compare or merge results.

    Raises:
        ValueError: it is damaged, or of another schema; FileNotFoundError: there is none.
    """
    stored = checked(path, cure, lambda: read_json(path))
    checked(path, cure, lambda: read_evaluation(stored, path))
    return stored


def score_interval(successes: float, n: int, z: float = _Z95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927), without continuity correction.

    Args:
        successes: in [0, n]; of images that are right in part, the sum of the parts.
        n: at least 1.
        z: quantile of the standard normal distribution; by default that of 95 %.
    Returns:
        (low, high), fractions in [0, 1].
    """
    p, denominator = successes / n, 2 * (n + z**2)
    center, half = (2 * n * p + z**2) / denominator, z / denominator * math.sqrt(4 * n * p * (1 - p) + z**2)
    # At the ends rounding would leave a little more or less than 0 and 1.
    return 0.0 if successes == 0 else center - half, 1.0 if successes == n else center + half


def accuracy_fields(robust: int, unevaluated: int, n: int, of: Of = "attack") -> Json:
    """Fraction and interval of n images of which so many are robust; the unevaluated ones widen it upwards."""
    value, interval, _ = ACCURACIES[of]
    return {value: robust / n, interval: [score_interval(robust, n)[0], score_interval(robust + unevaluated, n)[1]]}


def paired_p(only_first: int, only_second: int) -> float:
    """Two-sided p of the exact McNemar test: so uneven a split of fair coin tosses, or a more uneven one.

    Args:
        only_first, only_second: images that one of the two gets right and the other does not.
    Returns:
        In (0, 1]; 1 where there are none.
    """
    tosses, fewer = only_first + only_second, min(only_first, only_second)
    # Integers have no rounding: the tail of 10,000 tosses is a number of 3,000 digits.
    tail: int = sum(accumulate(range(fewer), lambda ways, k: ways * (tosses - k) // (k + 1), initial=1))
    return min(1.0, float(2 * tail / 2**tosses))


def corruption_fields(right: Mapping[str, Sequence[int]], n: int) -> Json:
    """Accuracy under corruptions, from how many of n images are right under each, at each severity.

    Returns:
        `right` as given; `mean_accuracy` over all corruptions and severities, with `interval95`; `severity_accuracy`, a
        list, and `corruption_accuracy`, by name: the means over the others. The interval is that of n images that are
        either right or wrong; the share of its corrupted versions that are right varies less from image to image.
    """
    shares = np.array(list(right.values())) / n
    mean = float(shares.mean())
    low, high = score_interval(mean * n, n)
    return {
        "right": {name: list(counts) for name, counts in right.items()},
        "mean_accuracy": mean,
        "interval95": [max(0.0, low), min(1.0, high)],
        "severity_accuracy": shares.mean(axis=0).tolist(),
        "corruption_accuracy": dict(zip(right, shares.mean(axis=1).tolist(), strict=True)),
    }


def pack(verdicts: Bits) -> str:
    """(n,) bool as base64 of packed bits, first image in the highest bit, zeros at the end: about n / 6 characters."""
    return base64.b64encode(np.packbits(np.asarray(verdicts)).tobytes()).decode("ascii")


def unpack(text: str, n: int) -> np.ndarray:
    """Inverse of `pack`: (n,) bool; ValueError if the text is not base64, or not that of n images."""
    raw = base64.b64decode(text, validate=True)
    expected = -(-n // 8)
    if len(raw) != expected:
        raise ValueError(
            f"verdicts of {n} images take {expected} bytes; got {len(raw)}: text and n are not of the same result"
        )
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=n).astype(bool)


def targeted(aimed_at: int, reached: int, images: int) -> Json:
    """What a result says of an attack at a class of the caller's choice, beside the accuracy.

    Args:
        aimed_at: the class.
        reached: for how many of the images the network says that class.
        images: how many are right without the attack and of another class; others are not aimed at.
    Returns:
        `class`, `reached`, `images`, and their ratio `success` with `interval95`; none of these two without images.
    """
    rate = {"success": reached / images, "interval95": list(score_interval(reached, images))} if images else {}
    return {"class": aimed_at, "images": images, "reached": reached, **rate}


@dataclass(frozen=True)
class Verdicts:
    """One of three for each image; an image that is neither robust nor unevaluated is broken: misclassified.

    Args:
        robust: (n,) bool, classified correctly, under attack if there is one.
        unevaluated: (n,) bool, not misclassified, but a logit or gradient that the attack was given was not finite,
            so that it had no gradient to follow.
    """

    robust: Bits
    unevaluated: Bits

    @classmethod
    def after(cls, withstood: Bits, nonfinite: Bits | None = None) -> Verdicts:
        """From images that no attack broke, and images with a logit or gradient that was not finite: each (n,) bool."""
        nonfinite = withstood & ~withstood if nonfinite is None else nonfinite
        return cls(withstood & ~nonfinite, withstood & nonfinite)

    @classmethod
    def read(cls, row: Json, n: int, name: str = "verdicts") -> Verdicts:
        """As `bits` has written them, in numpy; rows of earlier versions have no unevaluated images.

        Raises:
            KeyError: there are none, or an empty text, which stands for none.
        """
        if not row[name]:
            raise KeyError(name)
        bits = row.get("unevaluated_bits") if name == "verdicts" else None
        return cls(unpack(row[name], n), unpack(bits, n) if bits else np.zeros(n, dtype=bool))

    @property
    def withstood(self) -> Bits:
        """(n,) bool: not misclassified."""
        return self.robust | self.unevaluated

    @property
    def unevaluated_count(self) -> int:
        """How many images are unevaluated."""
        return int(self.unevaluated.sum())

    def __and__(self, other: Verdicts) -> Verdicts:
        """Under both: what either has broken is broken."""
        return Verdicts.after(self.withstood & other.withstood, self.unevaluated | other.unevaluated)

    def accuracy(self, of: Of = "attack") -> Json:
        """The fields of a result that hold the fraction of robust images and its interval."""
        return accuracy_fields(int(self.robust.sum()), self.unevaluated_count, len(self.robust), of)

    def bits(self) -> Json:
        """Packed verdicts; where there are unevaluated images, their count and bits too."""
        stored: Json = {"verdicts": pack(self.robust)}
        return stored | (
            {"unevaluated": self.unevaluated_count, "unevaluated_bits": pack(self.unevaluated)}
            if self.unevaluated_count
            else {}
        )


def content(protocol: Json, clean: Json, rows: Sequence[Json], worst_case: Json) -> Json:
    """A result in the order in which it is stored.

    Args:
        protocol: what was measured with what.
        clean: accuracy, cross-entropy and verdicts of the clean images.
        rows: one for each attack: the attack, then what was measured.
        worst_case: accuracy under all attacks.
    """
    return {"schema": SCHEMA, **protocol, **clean, "attacks": list(rows), **worst_case}


def _attacks(result: Json) -> Json:
    """The attacks that were asked for."""
    rows = [row for row in result["attacks"] if not row.get("added")]
    return {"attack": {str(place): attack_of(row) for place, row in enumerate(rows, start=1)}}


def paired_fields(result: Json) -> Json:
    """What two results must have in common for a paired test: images, attacks, and how they were attacked."""
    return {name: result.get(name) for name in declared(EvaluationResult, "paired")} | _attacks(result)


def _shared(result: Json) -> Json:
    """What the shards of one evaluation have in common: its protocol and its attacks."""
    own = declared(EvaluationResult, "own")
    # Shards begin at images of their own, and end with the same test set.
    images = {"images to": short_indices(of_whole(result["indices"]))}
    return {name: value for name, value in result.items() if name not in own} | images | _attacks(result)


def shard_differences(first: Json, second: Json) -> str:
    """In what two shards are not of one evaluation, in words; "" if they are."""
    return "; ".join(differences(_shared(first), _shared(second)))


# How a number of several shards becomes that of the whole: of its name and the rows of one attack.
_RULES: dict[str, Callable[[str, Sequence[Json]], Any]] = {
    "sum": lambda name, rows: round(sum(row[name] for row in rows), 3),
    "max": lambda name, rows: max(row[name] for row in rows),
    "min": lambda name, rows: min(row[name] for row in rows),
    "mean": lambda name, rows: _mean_of_broken(name, rows),
    "targeted": lambda name, rows: _of_all(*(row[name] for row in rows)),
}


def _of_all(*parts: Json) -> Json:
    return targeted(parts[0]["class"], *(sum(part[name] for part in parts) for name in ("reached", "images")))


def _mean_of_broken(name: str, rows: Sequence[Json]) -> float:
    broken = sum(row["broken"] for row in rows)
    return sum(row[name] * row["broken"] for row in rows) / broken if broken else 0.0


def _interleaved(parts: Sequence[Json], rows: Sequence[Json], name: str = "verdicts") -> Verdicts:
    """Of the whole: the k-th of m parts has every m-th image from the k-th."""
    whole = np.zeros((2, sum(part["n"] for part in parts)), dtype=bool)
    for number, (part, row) in enumerate(zip(parts, rows, strict=True)):
        found = Verdicts.read(row, part["n"], name)
        whole[:, number :: len(parts)] = found.robust, found.unevaluated
    return Verdicts(*whole)


def _interleaved_radii(parts: Sequence[Json], rows: Sequence[Json]) -> Radii:
    whole = np.zeros(sum(part["n"] for part in parts), np.float32)
    for number, (part, row) in enumerate(zip(parts, rows, strict=True)):
        whole[number :: len(parts)] = unpack_radii(row["radii"], part["n"])
    return whole


def merge_shards(parts: Sequence[Json]) -> Json:
    """The result that one process would have written.

    Args:
        parts: contents of all m shards' files, the k-th shard at place k - 1.
    Returns:
        Content of eval/<suite>.json; its verdicts are those of a run without shards, `seconds` are summed.
    Raises:
        ValueError: the parts are not those of one evaluation, or not what was stored.
    """
    # Whoever reads the files by other means has their checksums, too, which are of the parts alone.
    parts = [unsealed(part)[0] for part in parts]
    first = parts[0]
    for number, part in enumerate(parts, start=1):
        if part["shard"] != [number, len(parts)]:
            raise ValueError(f"expected shard {number} of {len(parts)}; got {part['shard'][0]} of {part['shard'][1]}")
        if found := shard_differences(first, part):
            raise ValueError(f"shard {number} is of another evaluation ({found}): measure it again")
    clean = _interleaved(parts, parts, "clean_verdicts")
    n, worst, rows = len(clean.robust), clean, []
    for members in zip(*(part["attacks"] for part in parts), strict=True):
        rows.append(_merged_row(parts, members))
        worst &= _interleaved(parts, members)
    own = ("shard", "clean_cross_entropy_images", "worst_case_unevaluated")
    return {
        **{name: value for name, value in first.items() if name not in own},
        "n": n,
        "indices": whole_text(first["indices"], n),
        "shards": len(parts),
        **clean.accuracy("clean"),
        **_cross_entropy(parts, parts, "clean_cross_entropy"),
        **_other_answers(parts, parts, "clean_other_answers"),
        "clean_verdicts": pack(clean.robust),
        "attacks": rows,
        **worst.accuracy("worst case"),
        **({"worst_case_unevaluated": worst.unevaluated_count} if worst.unevaluated_count else {}),
        **_corruptions(parts, n),
    }


def _merged_row(parts: Sequence[Json], rows: Sequence[Json]) -> Json:
    """One attack of all parts."""
    verdicts, own = _interleaved(parts, rows), ("unevaluated", "unevaluated_bits", "mean_cross_entropy_images")
    merged = {name: value for name, value in rows[0].items() if name not in own} | verdicts.accuracy() | verdicts.bits()
    for name, rule in declared(AttackResult, "merged").items():
        merged |= {name: _RULES[rule](name, rows)} if name in rows[0] else {}
    if "radii" in merged:
        merged |= radius_fields(_interleaved_radii(parts, rows), parse_eps(merged["eps"]))
    if "mean_cross_entropy" in merged:
        merged |= _cross_entropy(parts, rows, "mean_cross_entropy")
    merged |= _other_answers(parts, rows, "other_answers")
    for name in ("searches", "tiers"):
        if name in merged:
            merged[name] = [_merged_row(parts, members) for members in zip(*(row[name] for row in rows), strict=True)]
    return merged


def _corruptions(parts: Sequence[Json], n: int) -> Json:
    """Accuracy under corruptions of all parts; nothing where it was not measured."""
    if "corruptions" not in parts[0]:
        return {}
    counts = [part["corruptions"]["right"] for part in parts]
    right = {name: np.sum([count[name] for count in counts], axis=0).tolist() for name in counts[0]}
    return {"corruptions": corruption_fields(right, n)}


def _cross_entropy(parts: Sequence[Json], rows: Sequence[Json], name: str) -> Json:
    """The mean over the images of all parts where it is finite, None if there are none; their count if not all are."""
    n = sum(part["n"] for part in parts)
    counts: list[Any] = [row.get(f"{name}_images", part["n"]) for part, row in zip(parts, rows, strict=True)]
    finite = sum(counts)
    total = sum(float(row[name]) * count for row, count in zip(rows, counts, strict=True) if count)
    return {name: total / finite if finite else None} | ({f"{name}_images": finite} if finite < n else {})


def _other_answers(parts: Sequence[Json], rows: Sequence[Json], name: str) -> Json:
    """Accuracies of the classifier's other answers on the images of all parts; nothing where it has none."""
    n = sum(part["n"] for part in parts)
    answers = rows[0].get(name, {})
    counts = {
        answer: round(sum(row[name][answer] * part["n"] for part, row in zip(parts, rows, strict=True)))
        for answer in answers
    }
    return {name: {answer: count / n for answer, count in counts.items()}} if answers else {}
