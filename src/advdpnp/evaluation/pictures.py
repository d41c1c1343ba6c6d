"""What pictures of a network need: its answers to images and its features of them, clean and attacked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack, label, record
from advdpnp.attacks.attack import check_target
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.callbacks import EvaluationCallback
from advdpnp.data import Images
from advdpnp.evaluation.evaluate import Evaluation
from advdpnp.evaluation.features import Embeddings
from advdpnp.evaluation.forecast import forecast, time_gradient
from advdpnp.evaluation.model_checks import check_protocol
from advdpnp.evaluation.single_pass import Chunk, as_stated, attacked, chunks, model_to_attack
from advdpnp.metrics.confusion import confusion
from advdpnp.metrics.projection import neighbor_map, principal_plane
from advdpnp.metrics.spread import angle_to_center_degrees, angular_spread_degrees, radial_spread
from advdpnp.models.classifier import Classifier, known_centers
from advdpnp.runs import Json

# Images whose features are projected: t-SNE's time grows with their number, and more of them hide each other.
PROJECTED = 1000

Arrays = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Side:
    """The images, either clean or attacked.

    Args:
        shown: (M, channels, H, W) in [0, 1], those of the gallery.
        predictions: (n,) int64.
        features: (n, D) float32 on the scale of the class centers; None where they are not known.
    """

    shown: Tensor
    predictions: Tensor
    features: Tensor | None


@dataclass(frozen=True, eq=False)
class Pictured:
    """Everything that is drawn of one network, under one attack.

    Args:
        clean, adversarial: what it makes of the images.
        labels: (n,) int64.
        gallery: (M,) int64, rows of the images that are shown.
        centers: (C, D), the class centers; None where they are not known.
        prototypes: whether features are brought near the centers, which rows of a linear layer do not do.
        class_names: C of them.
        attack: the attack.
        without_answer: images about which an answer of the network, to the attack or on its image, was not finite.
    """

    clean: Side
    adversarial: Side
    labels: Tensor
    gallery: Tensor
    centers: Tensor | None
    prototypes: bool
    class_names: tuple[str, ...]
    attack: Attack
    without_answer: int

    @property
    def dimensions(self) -> int | None:
        """Width D of the features."""
        return None if self.centers is None else self.centers.shape[1]

    def confusion(self) -> Json:
        """Counts by true and predicted class, see `advdpnp.metrics.confusion.confusion`."""
        classes = len(self.class_names)
        sides = {"clean": self.clean, "adversarial": self.adversarial}
        return {of: confusion(self.labels, side.predictions, classes).tolist() for of, side in sides.items()}

    def spread(self) -> Json | None:
        """Fields of two `advdpnp.illustrations.Spread`; None where features are not known."""
        if self.centers is None:
            return None
        return {"clean": self._spread(self.clean), "adversarial": self._spread(self.adversarial)}

    def _spread(self, side: Side) -> Json:
        assert side.features is not None and self.centers is not None
        features, labels, classes = side.features, self.labels, len(self.centers)
        found = {
            "angle_degrees": angular_spread_degrees(features, labels, classes),
            "angle_to_center_degrees": angle_to_center_degrees(features, labels, self.centers),
            "radius": radial_spread(features, labels, classes),
        }
        return {name: [None if value != value else value for value in of.tolist()] for name, of in found.items()}

    def samples(self) -> Arrays:
        """Arrays of the gallery."""
        return self._common(self.gallery) | {
            "clean": _array(self.clean.shown),
            "adversarial": _array(self.adversarial.shown),
            "clean_predictions": _array(self.clean.predictions[self.gallery]),
            "adversarial_predictions": _array(self.adversarial.predictions[self.gallery]),
        }

    def plane(self) -> Arrays | None:
        """Features in the plane, where they have two coordinates (Figure 2)."""
        if self.dimensions != 2:
            return None
        clean, adversarial, centers = self._features(len(self.labels))
        return self._common() | {"clean": clean, "adversarial": adversarial, "centers": centers}

    def projection(self) -> Arrays | None:
        """The first features, where they are wider, and the stars of the classes among them, by PCA and by t-SNE.

        The stars are the class centers where features are brought near these, else the means of the clean features. The
        axes are those in which the features vary; t-SNE places features and stars together.
        """
        if self.dimensions is None or self.dimensions <= 2:
            return None
        n = min(len(self.labels), PROJECTED)
        clean, adversarial, centers = self._features(n)
        features, labels = np.concatenate([clean, adversarial]), _array(self.labels[:n])
        stars = centers if self.prototypes else _class_means(clean, labels, len(centers))
        known = np.isfinite(stars).all(axis=1)
        everything = np.concatenate([features, stars[known]])
        if not np.ptp(features, axis=0).any() or len(everything) < 4:
            return None
        plane = principal_plane(features)
        found = self._common(slice(n)) | {"explained": plane.explained, "stars": np.array(_star_word(self.prototypes))}
        for name, points in (("pca", plane.project(everything)), ("tsne", neighbor_map(everything))):
            placed = np.full((len(stars), 2), np.nan)
            placed[known] = points[2 * n :]
            found |= {f"{name}_clean": points[:n], f"{name}_adversarial": points[n : 2 * n], f"{name}_stars": placed}
        return found

    def _features(self, n: int) -> tuple[Any, Any, Any]:
        """The first n features, clean and attacked, and the centers."""
        assert self.clean.features is not None and self.adversarial.features is not None and self.centers is not None
        return _array(self.clean.features[:n]), _array(self.adversarial.features[:n]), _array(self.centers)

    def _common(self, rows: Any = slice(None)) -> Arrays:
        return {
            "labels": _array(self.labels[rows]),
            "class_names": np.array(self.class_names),
            "attack": np.array(label(record(self.attack))),
        }


def _star_word(prototypes: bool) -> str:
    return "class centers" if prototypes else "class means of the clean features"


def _class_means(features: Any, labels: Any, classes: int) -> Any:
    """(C, D); NaN for a class without images."""
    means = np.full((classes, features.shape[1]), np.nan)
    for one in np.unique(labels):
        means[one] = features[labels == one].mean(axis=0, dtype=np.float64)
    return means


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


@as_stated()
def pictured(
    model: nn.Module,
    images: Images,
    evaluation: Evaluation,
    class_names: tuple[str, ...],
    gallery: int,
    callback: EvaluationCallback,
) -> Pictured:
    """Attack images once, and keep what is drawn of them.

    Args:
        model: any classifier in eval mode; features are known of a `Classifier`.
        images: the test set, on the model's device.
        evaluation: which images, chunk and seed, and one attack.
        class_names: of all classes.
        gallery: how many images are shown, the first one of each class.
        callback: told as it proceeds.
    Raises:
        ValueError: a model in training mode, labels out of range, or features that are not finite.
    """
    (attack,), places = evaluation.suite.attacks, evaluation.places(images.labels.device)
    classes = check_protocol(model, images, places)
    check_target(attack, classes)
    if classes != len(class_names):
        raise ValueError(f"the network has {classes} classes and the data {len(class_names)}: they must be the same")
    model, labels = out_of_inference(model), images.labels[places]
    recorder, attacked_model = _Recorder(model, _first_of_each_class(labels, gallery)), model_to_attack(model)
    probe = time_gradient(attacked_model, images.select(places[: evaluation.chunk]), evaluation.chunk)
    callback.on_forecast(forecast(probe, [(attack, len(places))]))
    callback.on_attack(label(record(attack)), len(places))
    for chunk in chunks(images, places, evaluation.chunk):
        recorder.add(chunk, *attacked(attacked_model, attack, chunk, evaluation.seed))
        callback.on_images(chunk.valid)
    return recorder.finish(labels, class_names, attack)


def _first_of_each_class(labels: Tensor, count: int) -> Tensor:
    """Rows of the first image of each class that is there, of the first `count` of these classes."""
    first = [int((labels == one).nonzero()[0]) for one in torch.unique(labels)[:count]]
    return torch.tensor(first, dtype=torch.int64, device=labels.device)


class _Recorder:
    """Collects answers and features chunk by chunk, and pixels of the gallery alone."""

    def __init__(self, model: nn.Module, gallery: Tensor) -> None:
        self._model, self._gallery, self._done, self._without_answer = model, gallery, 0, 0
        centers = known_centers(model)
        self._centers = None if centers is None else centers.float()
        self._predictions: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._shown: tuple[dict[int, Tensor], dict[int, Tensor]] = ({}, {})
        self._embeddings: tuple[Embeddings, Embeddings] | None = None
        if isinstance(model, Classifier) and self._centers is not None:
            self._embeddings = Embeddings(model), Embeddings(model)

    def add(self, chunk: Chunk, x_adv: Tensor, nonfinite: Tensor) -> None:
        without = nonfinite.clone()
        wanted = [int(row) for row in self._gallery if self._done <= row < self._done + chunk.valid]
        for side, x in enumerate((chunk.x, x_adv)):
            with torch.no_grad():
                # A copy, for networks that change their input.
                logits = self._model(x.clone())
            without |= ~logits.isfinite().all(dim=1)
            self._predictions[side].append(logits[: chunk.valid].argmax(dim=1))
            self._shown[side].update({row: x[row - self._done] for row in wanted})
            if self._embeddings is not None:
                self._embeddings[side](x, chunk)
        self._without_answer += int(without[: chunk.valid].sum())
        self._done += chunk.valid

    def finish(self, labels: Tensor, class_names: tuple[str, ...], attack: Attack) -> Pictured:
        prototypes = isinstance(self._model, Classifier) and self._model.head.centers_are_places
        return Pictured(
            clean=self._side(0),
            adversarial=self._side(1),
            labels=labels,
            gallery=self._gallery,
            centers=self._centers,
            prototypes=prototypes,
            class_names=class_names,
            attack=attack,
            without_answer=self._without_answer,
        )

    def _side(self, side: int) -> Side:
        shown = torch.stack([self._shown[side][int(row)] for row in self._gallery])
        features = None if self._embeddings is None else _finite(self._embeddings[side].features)
        return Side(shown, torch.cat(self._predictions[side]), features)


def feature_width(model: nn.Module) -> int | None:
    """Coordinates of the features that are known of a network; None for a network whose are not."""
    centers = known_centers(model)
    return None if centers is None else centers.shape[1]


def _finite(features: Tensor) -> Tensor:
    strange = int((~features.isfinite().all(dim=1)).sum())
    if strange:
        raise ValueError(
            f"the features of {strange} of {len(features)} images are not finite: nothing can be drawn of them"
        )
    return features
