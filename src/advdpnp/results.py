"""The one schema of a stored evaluation, `eval/<suite>.json`: its fields, where it lies, how it is read and compared.

A field is declared once, in `AttackKey`, `AttackResult` or `EvaluationResult`; which fields make an attack, which are
the protocol, and how shards are merged follow from these declarations.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from advdpnp.attack_words import NORMS as NORMS
from advdpnp.attack_words import SEARCHES, aim_text, attack_label, radii_texts, setting_text, tier_text
from advdpnp.audit_files import without_audits
from advdpnp.declared_fields import declared_values, stored_kinds
from advdpnp.folder_names import folder_name
from advdpnp.ranges import Count, Natural, NonNegative, Share, parse_eps
from advdpnp.result_parts import (
    Corruptions,
    Environment,
    Seeds,
    SmallestEps,
    Targeted,
    Tier,
    Transfer,
    check_corruptions,
    check_geometry,
    check_interval,
    check_names,
    check_packed,
    check_smallest_eps,
    check_targeted,
    check_verdicts,
    check_worst_case,
)
from advdpnp.runs import Json, Run, read_shown
from advdpnp.stored_values import check_schema

SCHEMA = 1

MEAN_SEPARATION, PAIRWISE = "mean_separation_degrees", "mean_pairwise_angle_degrees"

PARTIAL = ".partial.json"

# Whose accuracy: of clean images, under one attack, or under all of them.
Of = Literal["clean", "attack", "worst case"]
# Where it is stored: the fraction, its interval, and how many images are unevaluated.
ACCURACIES: dict[Of, tuple[str, str, str]] = {
    "clean": ("clean_accuracy", "clean_interval95", ""),
    "attack": ("robust_accuracy", "interval95", "unevaluated"),
    "worst case": ("worst_case_accuracy", "worst_case_interval95", "worst_case_unevaluated"),
}


@dataclass(frozen=True)
class Accuracy:
    """A fraction of the images in [0, 1] and its 95 % Wilson interval, which reaches up to the unevaluated images."""

    value: float
    low: float
    high: float
    unevaluated: int = 0

    @classmethod
    def read(cls, stored: Mapping[str, Any], of: Of = "attack") -> Accuracy:
        """From a stored evaluation, or from an attack's row of one."""
        value, interval, unevaluated = ACCURACIES[of]
        return _accuracy(stored[value], stored[interval], stored.get(unevaluated, 0))


def _accuracy(value: float, interval: Sequence[float], unevaluated: int = 0) -> Accuracy:
    low, high = interval
    return Accuracy(float(value), float(low), float(high), unevaluated)


@dataclass(frozen=True)
class AttackKey:
    """What makes two stored attacks the same: the fields that `advdpnp.attacks.record` writes.

    Args:
        name: of the attack.
        norm: "linf", "l2" or "l1".
        eps: radius, as "8/255" or "0.1".
        steps: iterations; None where the attack is made of several.
        step_size: None where the attack sets its own.
        restarts: how many, at least 1.
        random_start: whether it starts at a random point of the ball.
        settings: every other field that the row has, with its value.
    """

    name: str
    norm: str
    eps: str
    steps: Count | None
    step_size: str | None
    restarts: Count
    random_start: bool
    settings: tuple[tuple[str, Hashable], ...] = field(default=(), metadata={"stored": ""})

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> AttackKey:
        """The attack that a row is of."""
        identity = attack_of(row)
        known = {name: identity.pop(name) for name in stored_kinds(AttackKey)}
        return cls(**known, settings=tuple((name, _hashable(value)) for name, value in identity.items()))

    @property
    def label(self) -> str:
        """Name and number of steps, such as PGD-40."""
        return attack_label(self.name, self.steps)

    @property
    def norm_name(self) -> str:
        """Such as ℓ∞."""
        return NORMS.get(self.norm, self.norm)

    @property
    def budget(self) -> str:
        """Norm and radius, such as ℓ∞ 8/255."""
        return f"{self.norm_name} {self.eps}"

    @property
    def settings_texts(self) -> list[str]:
        """The settings that depart from the attack's defaults, in words."""
        return [setting_text(name, value) for name, value in self.settings]

    @property
    def texts(self) -> list[str]:
        """All that the label and the budget leave open, in words: two attacks that differ have different texts."""
        step = f"step {self.step_size}" if self.step_size else "step of its own"
        restarts = "1 restart" if self.restarts == 1 else f"{self.restarts} restarts"
        return [step, "random start" if self.random_start else "starts at the image", restarts, *self.settings_texts]

    @property
    def details(self) -> str:
        """The whole protocol in words."""
        settings = "".join(f", {text}" for text in self.settings_texts)
        if self.name in SEARCHES:
            return f"{self.label}: {self.norm_name}, ε = {self.eps}, {SEARCHES[self.name]}{settings}"
        _, start, restarts, *_ = self.texts
        step = f", step {self.step_size}" if self.step_size and (self.steps or 0) > 1 else ""
        how = f"{start}, {restarts}" if self.random_start else start
        return f"{self.label}: {self.norm_name}, ε = {self.eps}{step}, {how}{settings}"


def _hashable(value: Any) -> Hashable:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return tuple((key, _hashable(inner)) for key, inner in value.items()) if isinstance(value, dict) else value


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """An attack's row of a stored evaluation: the attack, and what was measured under it.

    Every field but `key` is stored under its own name; what a row holds besides belongs to the attack. `merged`: how
    numbers of shards become that of the whole; "mean" is weighted by `broken`.
    """

    key: AttackKey = field(metadata={"stored": ""})
    robust_accuracy: Share
    interval95: list[float] = field(metadata={"around": "robust_accuracy"})
    seconds: NonNegative = field(metadata={"merged": "sum"})
    verdicts: str = ""
    unevaluated: Natural = 0
    unevaluated_bits: str = ""
    mean_cross_entropy: NonNegative | None = None
    mean_cross_entropy_images: Natural | None = None
    other_answers: dict[str, Share] = field(default_factory=dict)  # accuracy of `Classifier.other_answers`
    # Of searches, such as AutoAttack's: images that were attacked, broken, and broken only where the attack searched.
    attacked: Natural | None = field(default=None, metadata={"merged": "sum"})
    broken: Natural | None = field(default=None, metadata={"merged": "sum"})
    unconfirmed: Natural | None = field(default=None, metadata={"merged": "sum"})
    largest_norm: NonNegative | None = field(default=None, metadata={"merged": "max"})
    mean_norm: NonNegative | None = field(default=None, metadata={"merged": "mean"})
    chunk: Count | None = field(default=None, metadata={"merged": "min"})
    # Whether it is no part of the suite, but was added for want of a scale-free attack on logits that saturate.
    added: bool = False
    # Of an attack at a class of the caller's choice, see `advdpnp.result_files.targeted`.
    targeted: Json | None = field(default=None, metadata={"merged": "targeted", "kind": Targeted | None})
    # Of a search for the smallest radius of each image, see `advdpnp.radii.radius_fields`.
    radii: str = ""
    smallest_eps: Json | None = field(default=None, metadata={"kind": SmallestEps | None})
    # What the attack says of itself, such as fewer targets for want of classes.
    notes: list[str] = field(default_factory=list)
    searches: list[Json] = field(default_factory=list)
    # What the first of the searches are by themselves, such as AutoAttack within autoattack-plus.
    tiers: list[Json] = field(default_factory=list, metadata={"kind": list[Tier]})

    @property
    def accuracy(self) -> Accuracy:
        """What the attack left of the accuracy."""
        return _accuracy(self.robust_accuracy, self.interval95, self.unevaluated)

    @property
    def radii_texts(self) -> list[str]:
        """What it says of the smallest radius of each image."""
        return radii_texts({"smallest_eps": self.smallest_eps, "norm": self.key.norm, "eps": self.key.eps})


def attack_of(row: Mapping[str, Any]) -> Json:
    """The attack that a row of a result is of, as `advdpnp.attacks.record` describes it."""
    return {name: value for name, value in row.items() if name not in stored_kinds(AttackResult)}


_OWN = {"own": True}
_PAIRED = {"paired": True}


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """One stored evaluation: what was attacked, and what was left of the accuracy.

    Fields are stored under their own names, but `rows` as "attacks". Those marked as own are what a shard says of
    itself alone, and what it has measured; all others, and those that are not declared, are the protocol, which
    the shards of one evaluation share. Those marked as paired must agree where two classifiers are compared.
    """

    schema: int
    suite: str = field(metadata=_PAIRED)
    data: str = field(metadata=_PAIRED)
    n: Count = field(metadata=_OWN)
    indices: str = field(metadata=_OWN | _PAIRED)
    checkpoint: str
    precision: str
    chunk: Count = field(metadata=_PAIRED)
    clean_accuracy: Share = field(metadata=_OWN)
    clean_interval95: list[float] = field(metadata=_OWN | {"around": "clean_accuracy"})
    rows: list[AttackResult] = field(metadata=_OWN | {"stored": "attacks"})
    worst_case_accuracy: Share = field(metadata=_OWN)
    worst_case_interval95: list[float] = field(metadata=_OWN | {"around": "worst_case_accuracy"})
    worst_case_unevaluated: Natural = field(default=0, metadata=_OWN)
    clean_cross_entropy: NonNegative | None = field(default=None, metadata=_OWN)
    clean_cross_entropy_images: Natural | None = field(default=None, metadata=_OWN)
    clean_other_answers: dict[str, Share] = field(default_factory=dict, metadata=_OWN)
    clean_verdicts: str = field(default="", metadata=_OWN)
    epoch: Natural | None = None
    weights: str = ""  # SHA-256; "" where it was not recorded
    # What searches were made in; verdicts are always those of `precision`.
    search_precision: str = field(default="fp32", metadata=_PAIRED)
    eot: Count = field(default=1, metadata=_PAIRED)  # draws of a randomized network in each answer
    # Source and weights that images are of.
    transfer: dict[str, str] | None = field(default=None, metadata=_PAIRED | {"kind": Transfer | None})
    shard: list[int] | None = field(default=None, metadata=_OWN)
    geometry: dict[str, Any] | None = None
    # "published" for CIFAR-10-C or "generated", see `advdpnp.result_files.corruption_fields`; "" where not measured.
    corruption_source: str = field(default="", metadata=_PAIRED)
    corruptions: dict[str, Any] | None = field(default=None, metadata=_OWN | {"kind": Corruptions | None})
    # Count, mean and spread over seeds of the attacks' noise; None for one seed.
    seeds: dict[str, Any] | None = field(default=None, metadata={"kind": Seeds | None})
    warnings: list[str] = field(default_factory=list, metadata=_OWN)
    environment: dict[str, Any] = field(default_factory=dict, metadata=_OWN | {"kind": Environment})
    path: Path = field(default=Path(), metadata={"stored": ""})  # where it is stored

    @property
    def manner(self) -> list[str]:
        """How it departs from an evaluation of the network itself with its own images in fp32, in words."""
        said = [] if self.search_precision == "fp32" else [f"attacks searched in {self.search_precision}"]
        said += [] if self.eot == 1 else [f"a randomized network, by the mean of {self.eot} draws"]
        return said + ([] if self.transfer is None else [f"images crafted on {self.transfer['source']}"])

    @property
    def name(self) -> str:
        """Name of the suite."""
        return self.suite

    @property
    def clean(self) -> Accuracy:
        """Accuracy on clean images."""
        return _accuracy(self.clean_accuracy, self.clean_interval95)

    @property
    def worst_case(self) -> Accuracy:
        """Accuracy of the images that are right, clean and under every attack."""
        return _accuracy(self.worst_case_accuracy, self.worst_case_interval95, self.worst_case_unevaluated)

    @cached_property
    def attacks(self) -> dict[AttackKey, Accuracy]:
        """What each attack left."""
        return {row.key: row.accuracy for row in self.rows}

    @property
    def seconds(self) -> float:
        """What all attacks took."""
        return sum(row.seconds for row in self.rows)

    @property
    def notes(self) -> list[str]:
        """What attacks say of themselves, and how many images they left without a verdict."""
        left = {key: accuracy.unevaluated for key, accuracy in self.attacks.items() if accuracy.unevaluated}
        said = [text for row in self.rows for text in row.notes]
        said += [f"{row.key.label} {row.key.budget}: {aim_text(row.targeted)}" for row in self.rows if row.targeted]
        said += [f"{row.key.label} {row.key.budget}: {text}" for row in self.rows for text in row.radii_texts]
        said += [
            f"{row.key.label} {row.key.budget}: {Accuracy.read(tier).value:.2%} under {tier['name']} alone; "
            + tier_text(tier, row.robust_accuracy, self.n)
            for row in self.rows
            for tier in row.tiers
        ]
        return said + [
            f"{key.label} {key.budget}: {count} of {self.n} images unevaluated, without a finite gradient to follow; "
            "they do not count as robust, and the interval reaches up to them"
            for key, count in left.items()
        ]


def _row(stored: Mapping[str, Any], n: int) -> AttackResult:
    declared_values(AttackKey, stored)
    check_names(stored, "name", "norm", "eps", "step_size")
    for budget in (stored["eps"], stored["step_size"]):
        if budget is not None and parse_eps(budget) < 0:
            raise ValueError(f"eps or step_size is {budget}, below 0")
    row = AttackResult(key=AttackKey.read(stored), **declared_values(AttackResult, stored))
    check_verdicts(stored, n, "verdicts", row.robust_accuracy)
    check_verdicts(stored, n, "unevaluated_bits", row.unevaluated / n)
    if row.radii:
        check_packed("radii", row.radii, 4 * n)
    for tier in row.tiers:
        check_interval("the interval of a tier", tier["interval95"], tier["robust_accuracy"])
    if row.targeted:
        check_targeted(row.targeted, n)
    if row.smallest_eps:
        check_smallest_eps(row.smallest_eps, n, parse_eps(row.key.eps))
    return row


def _geometry(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """Geometry in which MeanSep is that of Eq. 11: earlier versions stored the mean over all pairs in its place."""
    if stored is None or PAIRWISE in stored or MEAN_SEPARATION not in stored:
        return stored
    return {PAIRWISE if name == MEAN_SEPARATION else name: value for name, value in stored.items()}


def read_evaluation(stored: Json, path: Path = Path()) -> EvaluationResult:
    """A stored evaluation, checked; fields that older results lack have their defaults.

    A row whose attack has a row already is left out with a warning.

    Args:
        stored: content of eval/<suite>.json.
        path: where it is stored.
    Raises:
        KeyError, TypeError, ValueError: a field is missing, of another kind, or out of range.
    """
    check_schema(stored, SCHEMA)
    values, rows = declared_values(EvaluationResult, stored), dict[AttackKey, AttackResult]()
    check_names(values, "suite", "data", "checkpoint", "precision", "search_precision", "corruption_source")
    n = values["n"]
    check_verdicts(stored, n, "clean_verdicts", values["clean_accuracy"])
    if values.get("corruptions"):
        check_corruptions(values["corruptions"], n)
    for row in (_row(one, n) for one in values.pop("rows")):
        if rows.setdefault(row.key, row) is not row:
            warnings.warn(f"{path} holds {row.key.details} twice: the second row is left out", stacklevel=2)
    check_worst_case(values, [row.robust_accuracy for row in rows.values()])
    geometry = _geometry(values.pop("geometry", None))
    check_geometry(geometry or {})
    return EvaluationResult(**values, rows=list(rows.values()), geometry=geometry, path=path)


def result_name(suite: str, other_data: str = "") -> str:
    """What the file of a result is called: <suite>, or <suite>@<data> on a test set that is not the run's own."""
    return suite + (f"@{folder_name(other_data)}" if other_data else "")


def result_files(run: Run, finished: bool = True) -> list[Path]:
    """Files of the finished evaluations of a run, or of the unfinished ones, sorted."""
    return [path for path in without_audits(run.eval_path("")) if path.name.endswith(PARTIAL) != finished]


def read_result(path: Path) -> EvaluationResult:
    """A stored evaluation from its file; ValueError with a cure where it is damaged, or of another schema."""
    return read_shown(path, "evaluate the run again", lambda stored: read_evaluation(stored, path))


def evaluations(run: Run, data: str) -> list[EvaluationResult]:
    """The finished evaluations of a run on `data`, in the order of their files, each suite once for each test set.

    Raises:
        ValueError: a file is damaged, lacks a field, or has another schema.
    """
    return without_copies(map(read_result, result_files(run)), data)


def without_copies(results: Iterable[EvaluationResult], data: str) -> list[EvaluationResult]:
    """Each suite once for each test set, from the file of its name; others are left out with a warning."""
    found: dict[tuple[str, str], EvaluationResult] = {}
    for result in results:
        stem = result_name(result.suite, "" if result.data == data else result.data)
        first = found.get((result.suite, result.data))
        kept = found[result.suite, result.data] = result if first is None or result.path.stem == stem else first
        if first is not None:
            other = first if kept is result else result
            # A copy would count as one more seed.
            warnings.warn(f"{other.path} is left out: suite {stem} is read from {kept.path.name}", stacklevel=2)
    return list(found.values())
