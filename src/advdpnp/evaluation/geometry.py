"""Feature-space geometry of a classifier on clean and attacked test images."""

import math

import torch
from torch import Tensor

from advdpnp import metrics
from advdpnp.evaluation.chunks import Chunk
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Json


class Embeddings:
    """Collects the embeddings of the images that an evaluation shows it.

    Args:
        model: the classifier.
    """

    def __init__(self, model: Classifier) -> None:
        self._model = model
        self._features: list[Tensor] = []
        self._labels: list[Tensor] = []

    def __call__(self, x: Tensor, chunk: Chunk) -> None:
        with torch.no_grad():
            self._features.append(self._model.embed(x)[: chunk.valid].float())
        self._labels.append(chunk.y[: chunk.valid])

    @property
    def features(self) -> Tensor:
        """(N, D) float32."""
        return torch.cat(self._features)

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return torch.cat(self._labels)


def class_statistics(embeddings: Embeddings, centers: Tensor) -> Json:
    """FDR in its three forms, AFS and SCR of one set of embeddings (Adv-DPNP Eqs. 8-10)."""
    features, labels, classes = embeddings.features, embeddings.labels, len(centers)
    fdr = metrics.fdr(features, labels, classes)
    values = {
        "fdr_eq8": fdr.eq8,
        "fdr_trace_ratio": fdr.trace_ratio,
        "fdr_trace_ratio_per_class": fdr.trace_ratio_per_class,
        "afs": metrics.afs(features, labels, classes),
        "scr": metrics.scr(features, labels, centers),
    }
    return _finite(values)


def center_geometry(centers: Tensor) -> Json:
    """Angles between class centers (Eqs. 11-12), and the SCR that all-zero features would have.

    Results of earlier versions have the mean over all pairs as `mean_separation_degrees`: they are known by the want of
    `mean_pairwise_angle_degrees`.
    """
    values = {
        "scr_floor": metrics.scr_floor(centers),
        "mean_separation_degrees": metrics.mean_separation_degrees(centers),
        "mean_pairwise_angle_degrees": metrics.mean_pairwise_angle_degrees(centers),
        "min_separation_degrees": metrics.min_separation_degrees(centers),
    }
    return _finite(values)


def _finite(values: Json) -> Json:
    """None for what is no number: collapsed features have no scatter ratio, and JSON has no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
