"""What is told of an image beside its prediction: the nearest adversarial image, and scores; and all as JSON values."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advdpnp.predicting import Failure, Prediction
from advdpnp.predicting.predictions import image_json
from advdpnp.runs import Json


@dataclass(frozen=True)
class Score:
    """How much a single image is like the training data, by one of the scores of `advdpnp.evaluation.scores`.

    Args:
        value: a higher one means more alike.
        threshold: the score that 95 % of the test images are at or above; None where it is not known.
        below: least and largest share of the test images that score lower, in [0, 1]; None where it is not known.
    """

    value: float
    threshold: float | None = None
    below: tuple[float, float] | None = None

    @property
    def accepted(self) -> bool | None:
        """Whether the image passes the threshold; None where there is none."""
        return None if self.threshold is None else self.value >= self.threshold


@dataclass(frozen=True)
class StoredImage:
    """An adversarial image in whole levels, as a picture file holds it.

    Args:
        distance: from the image, in the norm of the attack.
        at_goal: whether the network still says what the attack was after.
        answer: of the network; its `pixels` are the picture.
        file: name of the picture; "" where none is written.
    """

    distance: float
    at_goal: bool
    answer: Prediction
    file: str = ""


@dataclass(frozen=True)
class Adversarial:
    """The nearest adversarial image that was found.

    Args:
        distance: from the image, in the norm of the attack: an upper bound of its smallest eps.
        answer: of the network.
        scores: by name.
        stored: the same in whole levels; None where the image has no form as a picture.
        x: (channels, H, W) float32 in [0, 1].
        change: what it differs by from the image, of the same shape.
    """

    distance: float
    answer: Prediction
    scores: dict[str, Score]
    stored: StoredImage | None
    x: NDArray[np.float32] = field(repr=False, compare=False)
    change: NDArray[np.float32] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Explanation:
    """Why the network says what it says of one image, and how little changes that.

    Args:
        prediction: its answer, with distances, angles and training images.
        label: the true class; None where it is not known.
        attacked_class: what the attack was to lead away from: the label, or else the class predicted; None where the
            attack aims at a class.
        target: the class that the attack was to lead to; None for any other.
        at_goal: whether the network says so without an attack: the smallest eps is 0 then.
        scores: by name.
        adversarial: None where the attack has found nothing, or there was no need.
    """

    prediction: Prediction
    label: str | None
    attacked_class: str | None
    target: str | None
    at_goal: bool
    scores: dict[str, Score]
    adversarial: Adversarial | None

    @property
    def right(self) -> bool | None:
        """Whether the prediction is the label; None where that is not known."""
        return None if self.label is None else self.prediction.class_name == self.label

    @property
    def smallest_eps(self) -> float | None:
        """The smallest radius that was found, an upper bound; None where none was."""
        if self.at_goal:
            return 0.0
        return None if self.adversarial is None else self.adversarial.distance


@dataclass(frozen=True)
class Explanations:
    """The explanations for all images of one call.

    Args:
        source: the run's folder, or the class of the model.
        checkpoint: "last" or "best"; None for a model without a run.
        data: name of the data set; "" for a model without a run.
        prototypes_are: "prototypes", "class weights", "class centers", or None without centers.
        attack: as results describe it, see `advdpnp.attacks.record`.
        seeks_nearest: whether the attack looks for the nearest adversarial image, and not for any within its radius.
        largest_eps: the largest radius that was tried.
        usual_eps: the usual radius of the data set in that norm, None where there is none.
        images: one for each image, in their order.
        notes: what is missing, and why.
        levels: the pixel value that stands for 1.0 in pictures.
    """

    source: str
    checkpoint: str | None
    data: str
    prototypes_are: str | None
    attack: Json
    seeks_nearest: bool
    largest_eps: float
    usual_eps: float | None
    images: tuple[Explanation | Failure, ...]
    notes: tuple[str, ...] = ()
    levels: int = 255

    @property
    def explained(self) -> tuple[Explanation, ...]:
        """The images that could be read."""
        return tuple(image for image in self.images if isinstance(image, Explanation))

    @property
    def failed(self) -> tuple[Failure, ...]:
        """The files that could not be read."""
        return tuple(image for image in self.images if isinstance(image, Failure))

    @property
    def norm(self) -> str:
        """Of the attack: "linf", "l2" or "l1"."""
        return str(self.attack["norm"])

    def json(self) -> Json:
        """JSON values, the content of explain.json; angles that are undefined are null."""
        return {
            "run": self.source,
            "checkpoint": self.checkpoint,
            "data": self.data,
            "prototypes_are": self.prototypes_are,
            "attack": self.attack,
            "largest_eps_tried": self.largest_eps,
            "usual_eps": self.usual_eps,
            "notes": list(self.notes),
            "images": [
                image_json(image) if isinstance(image, Failure) else _explanation(image) for image in self.images
            ],
        }


def _explanation(image: Explanation) -> Json:
    return {
        **image_json(image.prediction),
        "label": image.label,
        "right": image.right,
        "scores": _scores(image.scores),
        "attacked_class": image.attacked_class,
        "target": image.target,
        "smallest_eps": image.smallest_eps,
        "adversarial": None if image.adversarial is None else _adversarial(image.adversarial),
    }


def _adversarial(found: Adversarial) -> Json:
    stored: dict[str, Any] | None = None
    if found.stored is not None:
        stored = {
            "file": found.stored.file,
            "distance": found.stored.distance,
            "at_goal": found.stored.at_goal,
            "class": found.stored.answer.class_name,
            "probability": found.stored.answer.probability,
        }
    answer = {
        name: value for name, value in image_json(found.answer).items() if name not in ("file", "nearest_training")
    }
    return {"distance": found.distance, **answer, "scores": _scores(found.scores), "stored": stored}


def _scores(scores: dict[str, Score]) -> Json:
    return {
        name: {
            "score": score.value,
            "threshold": score.threshold,
            "accepted": score.accepted,
            "share_below": None if score.below is None else list(score.below),
        }
        for name, score in scores.items()
    }
