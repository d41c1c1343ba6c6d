"""Features of clean and attacked images: their geometry, and arrays for figures."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advdpnp import metrics
from advdpnp.attacks import Attack, label, record
from advdpnp.data import Images
from advdpnp.evaluation.single_pass import Chunk, attacked, chunks, model_to_attack
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
