"""Features of clean and attacked images: their geometry."""

import math
from typing import Any

import torch
from torch import Tensor

from advdpnp.evaluation.single_pass import Chunk
from advdpnp.metrics import CENTER_METRICS, FEATURE_METRICS, Metric, measured
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Json


class Embeddings:
    """Collects the embeddings of the chunks that it is called with.

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
    """Every metric of features, such as FDR and SCR (Adv-DPNP Eqs. 8-10), of one set of embeddings."""
    features, labels = embeddings.features, embeddings.labels
    return _finite(measured(FEATURE_METRICS.values(), features, labels, centers))


def center_geometry(centers: Tensor) -> Json:
    """Every metric of class centers, such as the angles between them (Eqs. 11-12)."""
    return _finite(measured(CENTER_METRICS.values(), centers))


def declarations() -> Json:
    """What a result says of the metrics that declare themselves, by name; nothing where there are none."""
    metrics: list[Metric[Any]] = [*FEATURE_METRICS.values(), *CENTER_METRICS.values()]
    found = {metric.name: metric.declaration() for metric in metrics if metric.declared}
    return {"declared": found} if found else {}


def _finite(values: Json) -> Json:
    """None for what is no number: collapsed features have no scatter ratio, and JSON has no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
