"""Features of clean and attacked images: their geometry, and where pictures need them, all of them."""

import math
from typing import Any

import torch
from torch import Tensor

from advdpnp.evaluation.single_pass import Chunk
from advdpnp.metrics import CENTER_METRICS, FEATURE_METRICS, Gathering, Metric, measured
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

    def __call__(self, x: Tensor, chunk: Chunk) -> None:
        self._features.append(_embedded(self._model, x, chunk))

    @property
    def features(self) -> Tensor:
        """(N, D) float32."""
        return torch.cat(self._features)


class ClassStatistics:
    """Every metric of features, such as FDR and SCR (Adv-DPNP Eqs. 8-10), of the chunks that it is called with.

    What is kept does not grow with the number of images, unless a registered metric wants all features.

    Args:
        model: the classifier.
    """

    def __init__(self, model: Classifier) -> None:
        self._model, self._gathering = model, Gathering(FEATURE_METRICS.values(), model.class_centers())

    def __call__(self, x: Tensor, chunk: Chunk) -> None:
        self._gathering.add(_embedded(self._model, x, chunk), chunk.y[: chunk.valid])

    def numbers(self) -> Json:
        """By name."""
        return _finite(self._gathering.numbers())


def _embedded(model: Classifier, x: Tensor, chunk: Chunk) -> Tensor:
    """Embeddings of the images of a chunk that count: (valid, D) float32."""
    with torch.no_grad():
        return model.embed(x)[: chunk.valid].float()


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
