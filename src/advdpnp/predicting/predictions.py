"""Predictions as frozen dataclasses, and as JSON values."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from advdpnp.runs import Json

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ClassProbability:
    """One class and its softmax probability, which is no calibrated confidence."""

    class_name: str
    probability: float


@dataclass(frozen=True, slots=True)
class ClassCenter:
    """How far an embedding f is from the center c of one class.

    Args:
        class_name: the class.
        distance: ||f - c||, in the units of the embedding.
        angle_degrees: angle between f and c, in [0, 180]; None where f or c is zero.
    """

    class_name: str
    distance: float
    angle_degrees: float | None


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """A training image near the center of the winning class, or near the image itself.

    Args:
        to: what it is near to: "prototype" (of its own class, by angle) or "image" (of any class, by distance).
        index: position in the training split.
        class_name: its label.
        distance: between its embedding and what it is near to.
        angle_degrees: the same as an angle; None where it is undefined.
        pixels: (channels, H, W) as the network reads it, uint8 in [0, levels]; None where the data files are missing.
        file: its name below the folder of the images, as in "cat/1.png"; "" where the data have no files by image.
    """

    to: Literal["prototype", "image"]
    index: int
    class_name: str
    distance: float
    angle_degrees: float | None
    pixels: Pixels | None = field(default=None, repr=False, compare=False)
    file: str = ""

    @property
    def label(self) -> str:
        """What people call it: its file, or its position."""
        return self.file or f"#{self.index}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The network's answer for one image.

    Args:
        file: name of the image.
        class_name: the class with the largest logit.
        probability: its softmax probability, in [0, 1].
        top: the most probable classes, the winner first.
        prototypes: distance and angle to the center of every class, in the order of the classes; empty without centers.
        nearest_training: training images near the winner's center, then those near this image; the nearest first.
        pixels: (channels, H, W) as the network reads it, uint8 in [0, levels]; empty where it was not kept.
    """

    file: str
    class_name: str
    probability: float
    top: tuple[ClassProbability, ...]
    prototypes: tuple[ClassCenter, ...]
    nearest_training: tuple[TrainingImage, ...]
    pixels: Pixels = field(default_factory=lambda: np.empty(0, np.uint8), repr=False, compare=False)

    def without_pixels(self) -> "Prediction":
        """The same answer without the pixels of the image and of the training images."""
        near = tuple(replace(image, pixels=None) for image in self.nearest_training)
        return replace(self, nearest_training=near, pixels=np.empty(0, np.uint8))


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be read as an image, and why."""

    file: str
    error: str


@dataclass(frozen=True)
class Predictions:
    """The predictions for all images of one call.

    Args:
        source: the run's folder, or the class of the model.
        checkpoint: "last" or "best"; None for a model without a run.
        prototypes_are: what the centers are: "prototypes", "class weights", "class centers", or None without centers.
        images: one answer for each image, in their order.
        notes: what is missing from the predictions, and why.
        levels: the pixel value that stands for 1.0.
    """

    source: str
    checkpoint: str | None
    prototypes_are: str | None
    images: tuple[Prediction | Failure, ...]
    notes: tuple[str, ...] = ()
    levels: int = 255

    @property
    def predicted(self) -> tuple[Prediction, ...]:
        """The images that could be read."""
        return tuple(image for image in self.images if isinstance(image, Prediction))

    @property
    def failed(self) -> tuple[Failure, ...]:
        """The files that could not be read."""
        return tuple(image for image in self.images if isinstance(image, Failure))

    def json(self) -> Json:
        """JSON values; angles that are undefined are null."""
        return {
            "run": self.source,
            "checkpoint": self.checkpoint,
            "prototypes_are": self.prototypes_are,
            "notes": list(self.notes),
            "images": [image_json(image) for image in self.images],
        }


def image_json(image: Prediction | Failure) -> Json:
    """The answer for one image as JSON values; an angle that is undefined is null."""
    if isinstance(image, Failure):
        return {"file": image.file, "error": image.error}
    return {
        "file": image.file,
        "class": image.class_name,
        "probability": image.probability,
        "top": [{"class": entry.class_name, "probability": entry.probability} for entry in image.top],
        "prototypes": [_relation(center) for center in image.prototypes],
        "nearest_training": [
            {"to": other.to, "index": other.index, **({"file": other.file} if other.file else {}), **_relation(other)}
            for other in image.nearest_training
        ],
    }


def _relation(other: ClassCenter | TrainingImage) -> Json:
    return {"class": other.class_name, "distance": other.distance, "angle_degrees": other.angle_degrees}
