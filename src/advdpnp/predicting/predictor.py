"""Predicts images: class, probabilities, distances and angles to the class centers, nearest training images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.data import Images
from advdpnp.evaluation import CHUNK, logits_alone
from advdpnp.evaluation.single_pass import chunks
from advdpnp.metrics.distances import angles_degrees, distances, or_none
from advdpnp.models.classifier import Classifier
from advdpnp.models.heads import LinearHead, PrototypeHead
from advdpnp.predicting.predictions import ClassCenter, ClassProbability, Prediction, TrainingImage
from advdpnp.predicting.training_set import TrainingSet
from advdpnp.ranges import Count, Natural, check_fields


@dataclass(frozen=True)
class Centers:
    """One vector per class.

    Args:
        kind: "prototypes", "class weights" (rows of a linear layer) or "class centers" (of another head).
        vectors: (C, D), on the CPU.
    """

    kind: str
    vectors: Tensor


def centers_of(model: nn.Module) -> Centers:
    """The class centers of a model.

    Raises:
        TypeError: it has none.
    """
    if not isinstance(model, Classifier):
        raise TypeError(f"{type(model).__name__} has no class centers")
    kinds = {PrototypeHead: "prototypes", LinearHead: "class weights"}
    kind = next((name for head, name in kinds.items() if isinstance(model.head, head)), "class centers")
    return Centers(kind, model.class_centers().float().cpu())


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network, and what its predictions are explained with: class names, class centers, training images.

    Args:
        model: in eval mode, images in [0, 1] -> logits.
        class_names: one for each class; () for their numbers.
        centers: of the classes, or None.
        training: images to look among for the nearest, or None.
        top: how many classes are listed, at least 1.
        neighbors: how many training images are listed, each near the winner's center and near the image.
        levels: the pixel value that stands for 1.0 in the pixels of the predictions.
    """

    model: nn.Module
    class_names: tuple[str, ...]
    centers: Centers | None
    training: TrainingSet | None
    top: Count
    neighbors: Natural
    levels: Count = 255
    _of_prototype: dict[int, list[TrainingImage]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, files: Sequence[str], images: Images) -> Iterator[Prediction]:
        """One answer for each image, computed in static chunks, so that it does not depend on the others.

        Args:
            files: their names.
            images: on the model's device; the labels are not read.
        Raises:
            ValueError: the logits are not finite, or not one for each class.
        """
        for chunk in chunks(images, len(images), CHUNK):
            logits, features = self._forward(chunk.x)
            names = self._names(logits)
            first = int(chunk.index[0])
            pixels = (chunk.x[: chunk.valid] * self.levels).round().to(torch.uint8).cpu().numpy()
            near = self._near_images(features, chunk.valid)
            for row in range(chunk.valid):
                yield Prediction(
                    file=files[first + row],
                    **self._classes(logits[row], names),
                    prototypes=self._relations(features, row, names),
                    nearest_training=(*self._near_prototype(int(logits[row].argmax())), *near[row]),
                    pixels=pixels[row],
                )

    @torch.no_grad()
    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        if not isinstance(self.model, Classifier):
            return logits_alone(self.model(x)).float().cpu(), None
        features = self.model.embed(x)
        return self.model.head(features).float().cpu(), features.float().cpu()

    def _names(self, logits: Tensor) -> tuple[str, ...]:
        """One name for each class, after a check of the logits."""
        if logits.ndim != 2 or len(self.class_names or logits[0]) != logits.shape[1]:
            raise ValueError(
                f"the logits must be (B, C) with C = {len(self.class_names)} class names; got {tuple(logits.shape)}: "
                "name as many classes as the model has"
            )
        if not logits.isfinite().all():
            raise ValueError("the logits must be finite; got NaN or infinity: the network has diverged, train it again")
        return self.class_names or tuple(map(str, range(logits.shape[1])))

    def _classes(self, logits: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
        probabilities = logits.double().softmax(dim=0)
        order = torch.argsort(logits, descending=True, stable=True)[: self.top].tolist()
        top = tuple(ClassProbability(names[label], float(probabilities[label])) for label in order)
        return {"class_name": top[0].class_name, "probability": top[0].probability, "top": top}

    def _relations(self, features: Tensor | None, row: int, names: tuple[str, ...]) -> tuple[ClassCenter, ...]:
        if self.centers is None or features is None:
            return ()
        vectors = self.centers.vectors
        far, angles = distances(features[row], vectors), angles_degrees(features[row], vectors)
        facts = zip(names, far.tolist(), angles.tolist())
        return tuple(ClassCenter(name, distance, or_none(angle)) for name, distance, angle in facts)

    def _near_prototype(self, label: int) -> list[TrainingImage]:
        if self.training is None or self.centers is None:
            return []
        if label not in self._of_prototype:
            center = self.centers.vectors[label]
            self._of_prototype[label] = self.training.nearest_to_prototype(label, center, self.neighbors)
        return self._of_prototype[label]

    def _near_images(self, features: Tensor | None, valid: int) -> list[list[TrainingImage]]:
        if self.training is None or features is None:
            return [[]] * valid
        return self.training.nearest_to_images(features[:valid], self.neighbors)
