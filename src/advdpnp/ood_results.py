"""The schema of eval/ood/ood.json: how well scores tell outside images, and what is left when low ones are rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from advdpnp.attack_words import NORMS, attack_label
from advdpnp.declared_fields import declared_values
from advdpnp.indices import first_or_chosen
from advdpnp.ranges import Count, Natural, NonNegative, Share, parse_eps
from advdpnp.result_parts import Environment
from advdpnp.results import SCHEMA
from advdpnp.runs import Json, Run, read_shown
from advdpnp.stored_values import check_schema, check_value

# Score -> what it is in words. Higher means more like the training data.
SCORES = {
    "distance": "- distance to the nearest class center",
    "angle": "- angle to the nearest class center, degrees",
    "max-softmax": "log of the largest probability",
    "max-logit": "largest logit",
    "energy": "log of the sum of exp(logits)",
}
# Share of the inside images that a threshold accepts.
TRUE_POSITIVE_RATE = 0.95
_ROC_POINTS = 101
_ROUNDING = 1e-9


class _Attack(TypedDict):
    name: str
    norm: str
    eps: str
    steps: Count | None


class _Histogram(TypedDict):
    edges: list[float]
    inside: list[Share]
    outside: list[Share]


@dataclass(frozen=True, kw_only=True)
class ScoreAgainst:
    """How well one score tells outside images from the test images, which are the positive class.

    Args:
        auroc: area under the ROC curve, in [0, 1].
        auroc_interval95: see `advdpnp.metrics.detection.auroc_interval`.
        fpr95: share of the outside images that the threshold accepts that accepts 95 % of the test images.
        fpr95_interval95: Wilson's, the threshold taken as given.
        roc: false positive rate at true positive rates 0, 0.01, ..., 1.
        histogram: "edges" (k + 1) and the shares of "inside" and "outside" images between them (k); those beyond the
            ends are in the first and the last one.
    """

    auroc: Share
    auroc_interval95: list[float] = field(metadata={"around": "auroc"})
    fpr95: Share
    fpr95_interval95: list[float] = field(metadata={"around": "fpr95"})
    roc: list[Share]
    histogram: dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class OutsideRow:
    """One set of outside images.

    Args:
        name: of the data set, or the noise.
        n: how many images.
        conversion: what was done to bring them into the network's shape; "" for nothing.
        scores: by name of the score.
        seconds: what it took.
        remarks: what limits the meaning of the numbers.
    """

    name: str
    n: Count
    conversion: str
    scores: dict[str, ScoreAgainst]
    seconds: NonNegative
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ScoreAccepting:
    """Accuracy of the test images of the highest scores.

    Args:
        aurc: area under risk against coverage, in [0, 1]; lower is better.
        best_aurc: that of a score that puts every right answer first.
        coverage, accuracy_of_accepted: the curve.
        threshold: the score that 95 % of the clean test images are at or above.
        accepted: share of these images that is at or above it.
        accepted_right, accepted_wrong: shares of all these images that are accepted and right, and accepted and wrong.
    """

    aurc: Share
    best_aurc: Share
    coverage: list[Share]
    accuracy_of_accepted: list[Share]
    threshold: float
    accepted: Share
    accepted_right: Share
    accepted_wrong: Share


@dataclass(frozen=True, kw_only=True)
class AcceptRow:
    """The test images, clean or under one attack.

    Args:
        attack: as results describe it, see `advdpnp.attacks.record`; None for clean images.
        accuracy, interval95: of all of them, with Wilson's interval.
        scores: by name of the score.
        seconds: what it took.
    """

    attack: Json | None
    accuracy: Share
    interval95: list[float] = field(metadata={"around": "accuracy"})
    scores: dict[str, ScoreAccepting]
    seconds: NonNegative

    @property
    def label(self) -> str:
        """Such as "clean" or "PGD-20 ℓ∞ 8/255"."""
        if self.attack is None:
            return "clean"
        norm = NORMS.get(self.attack["norm"], self.attack["norm"])
        return f"{attack_label(self.attack['name'], self.attack['steps'])} {norm} {self.attack['eps']}"


@dataclass(frozen=True, kw_only=True)
class OodResult:
    """One network, its own test images, and images from outside.

    All fields but `rows`, `notes` and `environment` are the protocol: results that differ in it are not mixed.
    """

    schema: int
    data: str
    n: Count
    indices: str
    checkpoint: str
    precision: str
    chunk: Count
    seed: int
    scores: list[str]
    outside: list[OutsideRow]
    accepting: list[AcceptRow]
    epoch: Natural | None = None
    weights: str = ""
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict, metadata={"kind": Environment})

    def json(self) -> Json:
        """As it is stored."""
        return asdict(self)

    @property
    def protocol(self) -> Json:
        """What the images, network and scores are."""
        own = ("outside", "accepting", "notes", "environment")
        return {name: value for name, value in self.json().items() if name not in own}


def read_ood(stored: Json) -> OodResult:
    """A stored result, checked; KeyError, TypeError or ValueError where a field is not what it must be."""
    check_schema(stored, SCHEMA)
    values = declared_values(OodResult, stored)
    values["outside"] = [_row(OutsideRow, ScoreAgainst, row, stored["scores"]) for row in stored["outside"]]
    values["accepting"] = [_row(AcceptRow, ScoreAccepting, row, stored["scores"]) for row in stored["accepting"]]
    for row in values["outside"]:
        for name, score in row.scores.items():
            _check_curves(name, score)
    for row in values["accepting"]:
        if row.attack is not None:
            check_value("attack", row.attack, _Attack)
            parse_eps(row.attack["eps"])
        for name, score in row.scores.items():
            if abs(score.accepted_right + score.accepted_wrong - score.accepted) > _ROUNDING:
                raise ValueError(f"{name} has accepted images that are neither right nor wrong")
        if any(len(score.coverage) != len(score.accuracy_of_accepted) for score in row.scores.values()):
            raise ValueError("coverage has other points than accuracy_of_accepted")
    return OodResult(**values)


def _row(kind: type, score: type, stored: Mapping[str, Any], names: list[str]) -> Any:
    values = declared_values(kind, stored)
    values["scores"] = {name: score(**declared_values(score, value)) for name, value in stored["scores"].items()}
    if set(values["scores"]) != set(names):
        raise ValueError(f"a row has the scores {', '.join(sorted(values['scores']))}, the result {', '.join(names)}")
    return kind(**values)


def _check_curves(name: str, score: ScoreAgainst) -> None:
    check_value(f"{name}.histogram", score.histogram, _Histogram)
    bins = {len(score.histogram[side]) for side in ("inside", "outside")}
    if bins != {len(score.histogram["edges"]) - 1} or len(score.roc) != _ROC_POINTS:
        raise ValueError(
            f"{name} has a histogram or a ROC curve of another length than its edges, or than {_ROC_POINTS}"
        )


def ood_path(run: Run) -> Path:
    """Where it lies: eval/ood/ood.json, apart from the evaluations, whose schema it does not have."""
    return run.eval_path("ood/ood.json")


def stored_ood(run: Run) -> OodResult | None:
    """What is stored of a run; None where nothing is.

    Raises:
        ValueError: the file is damaged, or of another version.
    """
    path = ood_path(run)
    if not path.is_file():
        return None
    return read_shown(path, "remove it, and measure again with advdpnp ood", read_ood)


def ood_text(result: OodResult) -> str:
    """The result as tables, in percent with 95 % intervals."""
    images = first_or_chosen(result.indices, result.n)
    lines = [f"{result.data}, {images}, checkpoint {result.checkpoint}"]
    for row in result.outside:
        changed = f", {row.conversion}" if row.conversion else ""
        lines += [
            f"against {row.name}, {row.n} images{changed}",
            f"  {'score':<12} {'AUROC':>26} {'FPR at 95 % TPR':>26}",
        ]
        for name, score in row.scores.items():
            area, rate = _share(score.auroc, score.auroc_interval95), _share(score.fpr95, score.fpr95_interval95)
            lines.append(f"  {name:<12} {area:>26} {rate:>26}")
        lines += [f"  note: {remark}" for remark in row.remarks]
    for accept in result.accepting:
        lines += [
            f"{accept.label}: accuracy {_share(accept.accuracy, accept.interval95)}, {result.n} images",
            f"  {'score':<12} {'AURC':>8} {'at best':>8}   at the threshold that 95 % of the clean images pass",
        ]
        lines += [f"  {name:<12} {_accept_text(score)}" for name, score in accept.scores.items()]
    return "\n".join([*lines, *(f"note: {note}" for note in result.notes)])


def _share(value: float, interval: list[float]) -> str:
    low, high = interval
    return f"{value:.2%} [{low:.2%}, {high:.2%}]"


def _accept_text(score: ScoreAccepting) -> str:
    shares = f"right {score.accepted_right:.1%}, wrong {score.accepted_wrong:.1%}, rejected {1 - score.accepted:.1%}"
    return f"{score.aurc:>8.4f} {score.best_aurc:>8.4f}   {shares}"
