"""One evaluation: a suite of attacks on a test set, from the first chunk to the result file's content."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack, Suite, label, record
from advdpnp.data import Images
from advdpnp.evaluation.checks import check_protocol
from advdpnp.evaluation.forecast import forecast, seconds_per_gradient
from advdpnp.evaluation.geometry import Embeddings, center_geometry, class_statistics
from advdpnp.evaluation.ledger import Entry, Ledger
from advdpnp.evaluation.robustness import attack_surface, judge
from advdpnp.metrics import pack, wilson, worst_case
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Json

CHUNK = 128


class Listener(Protocol):
    """Who is told how an evaluation goes."""

    def on_forecast(self, seconds: float) -> None: ...
    def on_attack(self, name: str, images: int) -> None: ...
    def on_images(self, images: int) -> None: ...


@dataclass(frozen=True)
class Evaluation:
    """What is measured.

    Args:
        suite: the attacks.
        n: the first n test images.
        chunk: rows of every forward; halved, and recorded, when memory runs out.
        seed: of the attacks' noise.
        facts: further entries of the result, such as data and checkpoint.
        partial: where an interrupted evaluation is kept; None keeps nothing.
        resume: continue what `partial` holds.
    """

    suite: Suite
    n: int
    facts: Json
    chunk: int = CHUNK
    seed: int = 0
    partial: Path | None = None
    resume: bool = False


def _interval(verdicts: Tensor) -> list[float]:
    return list(wilson(int(verdicts.sum()), len(verdicts)))


def evaluate(model: nn.Module, images: Images, evaluation: Evaluation, listener: Listener) -> Json:
    """Run a suite; content of eval/<suite>.json, in fractions.

    Args:
        model: any classifier in eval mode, images in [0, 1] -> logits; geometry needs `embed` and `class_centers`.
        images: the test set, on the model's device.
        evaluation: what is measured.
        listener: told of every attack and chunk.
    Raises:
        ValueError: a model in training mode, labels or n out of range.
    """
    check_protocol(model, images, evaluation.n)
    chunk = evaluation.chunk
    while True:
        try:
            return _evaluate(model, images, evaluation, chunk, listener)
        except torch.OutOfMemoryError:
            if chunk == 1:
                raise
            # Outside the handler's frame the failed tensors are freed; the ledger of another chunk shape is not reused.
            chunk = max(1, chunk // 2)


def _evaluate(model: nn.Module, images: Images, evaluation: Evaluation, chunk: int, listener: Listener) -> Json:
    suite, n = evaluation.suite, evaluation.n
    protocol = {**evaluation.facts, "suite": suite.name, "n": n, "chunk": chunk, "seed": evaluation.seed}
    budgets = {"attacks": [record(attack) for attack in suite.attacks]}
    ledger = Ledger(evaluation.partial, protocol | budgets, evaluation.resume and chunk == evaluation.chunk)
    pass_ = _Pass(model, attack_surface(model), images, n, chunk, evaluation.seed, ledger, listener)
    pass_.tell_forecast(suite)
    try:
        clean = pass_.verdicts("clean", None, embed=suite.features is not None)
        entries, rows = [clean], []
        for position, attack in enumerate(suite.attacks):
            entry = pass_.verdicts(_entry_name(position, attack), attack, embed=position == suite.features)
            entries.append(entry)
            rows.append(record(attack) | _row(entry))
    finally:
        # Ctrl-C too: what is finished is kept.
        ledger.save(now=True)
    result = _result(protocol, clean, rows, worst_case([entry.verdicts() for entry in entries]))
    if suite.features is not None and isinstance(model, Classifier):
        attacked = label(rows[suite.features])
        result["geometry"] = {
            "clean": ledger.note("clean"),
            "adversarial": {**ledger.note(f"{suite.features + 1}. {attacked}"), "attack": attacked},
            **center_geometry(model.class_centers()),
        }
    return result


def _entry_name(position: int, attack: Attack) -> str:
    return f"{position + 1}. {label(record(attack))}"


@dataclass(frozen=True)
class _Pass:
    """One evaluation's fixed part: everything but the attack."""

    model: nn.Module
    surface: nn.Module
    images: Images
    n: int
    chunk: int
    seed: int
    ledger: Ledger
    listener: Listener

    def tell_forecast(self, suite: Suite) -> None:
        """Say how long the suite will take."""
        left: list[tuple[Attack | None, int]] = [(None, self.n - self.ledger.entry("clean").n)]
        for position, attack in enumerate(suite.attacks):
            left.append((attack, self.n - self.ledger.entry(_entry_name(position, attack)).n))
        if any(images for _, images in left):
            seconds = seconds_per_gradient(self.surface, self.images, self.chunk)
            self.listener.on_forecast(forecast(seconds, left))

    def verdicts(self, name: str, attack: Attack | None, embed: bool) -> Entry:
        """Verdicts under one attack (None: clean) and, with `embed`, a note of the features' statistics."""
        entry, see = self.ledger.entry(name), None
        if embed and isinstance(self.model, Classifier) and self.ledger.note(name) is None:
            see = Embeddings(self.model)
            # Features are not stored: without statistics the attack begins again.
            entry.forget()
        self.listener.on_attack(name, self.n - entry.n)
        tell = self.listener.on_images
        judge(self.model, self.surface, attack, self.images, self.n, self.chunk, self.seed, entry, tell, see)
        if see is not None and isinstance(self.model, Classifier):
            self.ledger.write_note(name, class_statistics(see, self.model.class_centers()))
        self.ledger.save(now=True)
        return entry


def _row(entry: Entry) -> Json:
    verdicts = entry.verdicts()
    return {
        "robust_accuracy": verdicts.double().mean().item(),
        "interval95": _interval(verdicts),
        "mean_cross_entropy": entry.mean_cross_entropy(),
        "seconds": round(entry.seconds, 3),
        "verdicts": pack(verdicts),
    }


def _result(protocol: Json, clean: Entry, rows: list[Json], worst: Tensor) -> Json:
    verdicts = clean.verdicts()
    return {
        "schema": 1,
        **protocol,
        "indices": f"0-{len(verdicts) - 1}",
        "clean_accuracy": verdicts.double().mean().item(),
        "clean_interval95": _interval(verdicts),
        "clean_cross_entropy": clean.mean_cross_entropy(),
        "clean_verdicts": pack(verdicts),
        "attacks": rows,
        "worst_case_accuracy": worst.double().mean().item(),
        "worst_case_interval95": _interval(worst),
    }
