"""One evaluation: a suite of attacks on a test set, from the first chunk to the result file's content."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from advdpnp.attacks import Suite, record
from advdpnp.attacks.attack import check_images, check_labels
from advdpnp.data import Images
from advdpnp.evaluation.geometry import Embeddings, center_geometry, class_statistics
from advdpnp.evaluation.ledger import Entry, Ledger
from advdpnp.evaluation.robustness import judge
from advdpnp.metrics import pack, wilson, worst_case
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Json

CHUNK = 128


class Listener(Protocol):
    """Who is told how an evaluation goes."""

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


def _check(model: nn.Module, images: Images, n: int) -> None:
    if model.training:
        raise ValueError("the evaluated model is in training mode, so its answers depend on the batch: call .eval()")
    if not 1 <= n <= len(images):
        raise ValueError(f"--limit must be from 1 to {len(images)}, the test images there are; got {n}")
    x, _ = images.batch(torch.arange(1, device=images.labels.device))
    check_images(x)
    with torch.no_grad():
        classes = model(x).shape[1]
    check_labels(images.labels[:n], n, classes)


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
    _check(model, images, evaluation.n)
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
    ledger = Ledger(evaluation.partial, protocol, evaluation.resume and chunk == evaluation.chunk)

    def run(name: str, attack: Any, embed: bool) -> tuple[Entry, Json | None]:
        entry = ledger.entry(name)
        statistics = ledger.note(name)
        wanted = embed and isinstance(model, Classifier) and statistics is None
        embeddings = Embeddings(model) if wanted and isinstance(model, Classifier) else None
        if embeddings is not None:
            entry.forget()
        listener.on_attack(name, n - entry.n)
        judge(model, attack, images, n, chunk, evaluation.seed, entry, listener.on_images, embeddings)
        if embeddings is not None and isinstance(model, Classifier):
            statistics = class_statistics(embeddings, model.class_centers())
            ledger.write_note(name, statistics)
        ledger.save(now=True)
        return entry, statistics

    clean, clean_statistics = run("clean", None, embed=suite.features is not None)
    rows, verdicts = [], [clean.verdicts()]
    attacked_statistics: Json | None = None
    for position, attack in enumerate(suite.attacks):
        described = record(attack)
        name = f"{position + 1}. {attack.name}-{attack.steps} {attack.norm} {described['eps']}"
        entry, statistics = run(name, attack, embed=position == suite.features)
        if statistics is not None:
            attacked_statistics = {
                **statistics,
                "attack": f"{attack.name}-{attack.steps} {attack.norm} {described['eps']}",
            }
        verdicts.append(entry.verdicts())
        rows.append(described | _row(entry))
    result = _result(protocol, clean, rows, worst_case(verdicts))
    if clean_statistics and attacked_statistics and isinstance(model, Classifier):
        centers = center_geometry(model.class_centers())
        result["geometry"] = {"clean": clean_statistics, "adversarial": attacked_statistics, **centers}
    return result


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
