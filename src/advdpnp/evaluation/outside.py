"""Scores of test images, clean and attacked, and of images from outside; what they tell apart."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack, label, record
from advdpnp.callbacks import EvaluationCallback
from advdpnp.data import Images
from advdpnp.data.outside import Outside
from advdpnp.evaluation.evaluate import Evaluation
from advdpnp.evaluation.model_checks import check_protocol
from advdpnp.evaluation.scores import Scorer
from advdpnp.evaluation.single_pass import Chunk, as_stated, attacked, chunks, model_to_attack
from advdpnp.losses import is_right
from advdpnp.metrics.detection import (
    accept_curve,
    auroc,
    auroc_interval,
    highest_threshold,
    roc_at,
    threshold_at,
)
from advdpnp.ood_results import TRUE_POSITIVE_RATE, AcceptRow, OutsideRow, ScoreAccepting, ScoreAgainst
from advdpnp.result_files import score_interval

# Scores by name, each (n,) float64.
Found = dict[str, np.ndarray]

_BINS = 30
# Further out than these shares of the images, values go into the first and the last bin.
_ENDS = (0.002, 0.998)
_RATES = np.linspace(0, 1, 101)


class OutsideMeasurement:
    """One network on its test images, from which rows of a result are made.

    Args:
        model: classifier in eval mode, on the images' device.
        images: the test set.
        evaluation: which images, chunk and seed.
        callback: called as it proceeds.
    Raises:
        ValueError: a model in training mode, or images or labels out of range.
    """

    @as_stated()
    def __init__(self, model: nn.Module, images: Images, evaluation: Evaluation, callback: EvaluationCallback) -> None:
        self._places = evaluation.places(images.labels.device)
        check_protocol(model, images, self._places)
        self._model, self._images, self._evaluation, self._callback = model, images, evaluation, callback
        self._scorer = Scorer(model)
        self._clean, self._row = self._accept(None, "clean")

    @property
    def scores(self) -> list[str]:
        """Names of the scores that this network has."""
        return list(self._clean)

    @property
    def without_centers(self) -> str:
        """Why there is no distance and no angle; "" where there are."""
        return self._scorer.without_centers

    @property
    def clean(self) -> AcceptRow:
        """The row of the clean images."""
        return self._row

    @as_stated()
    def under(self, attack: Attack) -> AcceptRow:
        """The row of the images under an attack."""
        return self._accept(attack, label(record(attack)))[1]

    @as_stated()
    def against(self, outside: Outside, n: int, remarks: list[str]) -> OutsideRow:
        """The row of the first n of some outside images, which are on the device of the test set."""
        began, size = time.perf_counter(), self._evaluation.chunk
        self._callback.on_attack(outside.name, n)
        parts = list[dict[str, Tensor]]()
        for start in range(0, n, size):
            index = torch.arange(start, start + size, device=self._images.labels.device).clamp_max(n - 1)
            scores, _ = self._scorer(outside.batch(index))
            valid = min(size, n - start)
            parts.append({name: values[:valid].cpu() for name, values in scores.items()})
            self._callback.on_images(valid)
        found = _joined(parts, outside.name)
        rows = {name: _against(self._clean[name], values) for name, values in found.items()}
        seconds = round(time.perf_counter() - began, 3)
        return OutsideRow(
            name=outside.name, n=n, conversion=outside.conversion, scores=rows, seconds=seconds, remarks=remarks
        )

    def _accept(self, attack: Attack | None, name: str) -> tuple[Found, AcceptRow]:
        began = time.perf_counter()
        self._callback.on_attack(name, len(self._places))
        parts, answers = list[dict[str, Tensor]](), list[Tensor]()
        for chunk, x in self._attacked(attack):
            scores, logits = self._scorer(x)
            parts.append({score: values[: chunk.valid].cpu() for score, values in scores.items()})
            answers.append(is_right(logits, chunk.y)[: chunk.valid].cpu())
            self._callback.on_images(chunk.valid)
        found, right = _joined(parts, f"{name} test images"), torch.cat(answers).numpy()
        clean = found if attack is None else self._clean
        rows = {score: _accepting(values, clean[score], right) for score, values in found.items()}
        count, n = int(right.sum()), len(right)
        row = AcceptRow(
            attack=None if attack is None else record(attack),
            accuracy=count / n,
            interval95=list(score_interval(count, n)),
            scores=rows,
            seconds=round(time.perf_counter() - began, 3),
        )
        return found, row

    def _attacked(self, attack: Attack | None) -> Iterator[tuple[Chunk, Tensor]]:
        attacked_model = model_to_attack(self._model)
        for chunk in chunks(self._images, self._places, self._evaluation.chunk):
            yield chunk, attacked(attacked_model, attack, chunk, self._evaluation.seed)[0]


def _joined(parts: list[dict[str, Tensor]], what: str) -> Found:
    """Scores of all chunks; ValueError where one is no number."""
    found = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    bad = np.zeros(len(next(iter(found.values()))), bool)
    for values in found.values():
        bad |= ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(bad)} images ({what}) get logits or embeddings that are not finite, and so "
            "no score: is the network in the precision that it was trained in?"
        )
    return found


def _against(inside: np.ndarray, outside: np.ndarray) -> ScoreAgainst:
    area, at = auroc(inside, outside), threshold_at(inside, outside, TRUE_POSITIVE_RATE)
    return ScoreAgainst(
        auroc=area,
        auroc_interval95=list(auroc_interval(area, len(inside), len(outside))),
        fpr95=at.false_positive_rate,
        fpr95_interval95=list(at.interval95),
        roc=[round(float(rate), 6) for rate in roc_at(inside, outside, _RATES)],
        histogram=_histogram(inside, outside),
    )


def _histogram(inside: np.ndarray, outside: np.ndarray) -> dict[str, list[float]]:
    low = min(np.quantile(values, _ENDS[0]) for values in (inside, outside))
    high = max(np.quantile(values, _ENDS[1]) for values in (inside, outside))
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    shares = {
        name: np.histogram(values.clip(edges[0], edges[-1]), edges)[0] / len(values)
        for name, values in (("inside", inside), ("outside", outside))
    }
    found = {"edges": edges} | shares
    return {name: [float(f"{value:.6g}") for value in values] for name, values in found.items()}


def _accepting(scores: np.ndarray, clean: np.ndarray, right: np.ndarray) -> ScoreAccepting:
    curve, threshold = accept_curve(scores, right), highest_threshold(clean, TRUE_POSITIVE_RATE)
    accepted = scores >= threshold
    return ScoreAccepting(
        aurc=curve.aurc,
        best_aurc=curve.best,
        coverage=curve.coverage,
        accuracy_of_accepted=curve.accuracy,
        threshold=threshold,
        accepted=float(accepted.mean()),
        accepted_right=float((accepted & right).mean()),
        accepted_wrong=float((accepted & ~right).mean()),
    )
