"""Features of clean and attacked images: their geometry, and arrays for figures."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advdpnp.attacks import Attack, label, record
from advdpnp.data import Images
from advdpnp.evaluation.single_pass import Chunk, attacked, chunks, model_to_attack
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


Arrays = dict[str, Any]


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def attacked_samples(
    model: Classifier, images: Images, class_names: tuple[str, ...], attack: Attack, count: int, chunk: int
) -> Arrays:
    """The first image of each class, up to `count`, clean and attacked, with the predictions."""
    first = [int((images.labels == label).int().argmax()) for label in range(len(class_names))][:count]
    chosen = images.select(torch.tensor(first, device=images.labels.device))
    (block,) = chunks(chosen, len(chosen), chunk)
    x_adv, _ = attacked(model_to_attack(model), attack, block, seed=0)
    with torch.no_grad():
        clean, adversarial = model(block.x).argmax(dim=1), model(x_adv).argmax(dim=1)
    valid = slice(0, block.valid)
    return {
        "clean": _array(block.x[valid]),
        "adversarial": _array(x_adv[valid]),
        "labels": _array(block.y[valid]),
        "clean_predictions": _array(clean[valid]),
        "adversarial_predictions": _array(adversarial[valid]),
        "class_names": np.array(class_names),
        "attack": np.array(label(record(attack))),
    }


def embedding_arrays(
    model: Classifier, images: Images, class_names: tuple[str, ...], attack: Attack, n: int, chunk: int
) -> Arrays:
    """Embeddings of the first n images, clean and attacked, with the class centers (Figure 2)."""
    clean, adversarial, attacked_model = Embeddings(model), Embeddings(model), model_to_attack(model)
    for block in chunks(images, n, chunk):
        clean(block.x, block)
        adversarial(attacked(attacked_model, attack, block, seed=0)[0], block)
    return {
        "clean": _array(clean.features),
        "adversarial": _array(adversarial.features),
        "labels": _array(clean.labels),
        "centers": _array(model.class_centers()),
        "class_names": np.array(class_names),
        "attack": np.array(label(record(attack))),
    }
