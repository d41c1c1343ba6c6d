"""Arrays that an evaluation stores for figures: images with what was predicted, and two-dimensional features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from advdpnp import array_files
from advdpnp.report.run_files import is_there
from advdpnp.runs import checked
from advdpnp.stored_values import short_name

if TYPE_CHECKING:
    import numpy as np


Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class StoredArrays(ABC):
    """What one file holds: arrays, one name for each class, and texts."""

    class_names: list[str]

    @abstractmethod
    def shapes(self) -> Shapes:
        """The shape that each array of finite numbers must have; ValueError where one decides none."""

    def classes(self) -> list[np.ndarray]:
        """Arrays of classes, all of one length."""
        return []


@dataclass(frozen=True)
class Samples(StoredArrays):
    """Some images of the test set: clean and adversarial (M, channels, H, W) in [0, 1], labels and predictions (M,)."""

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    clean_predictions: np.ndarray
    adversarial_predictions: np.ndarray
    attack: str

    def shapes(self) -> Shapes:
        shape = self.clean.shape
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise ValueError(f"clean has the shape {shape}, not (images, 1 or 3 channels, H, W)")
        shape = (len(self.labels), *shape[1:])
        return {"clean": shape, "adversarial": shape}

    def classes(self) -> list[np.ndarray]:
        return [self.labels, self.clean_predictions, self.adversarial_predictions]


@dataclass(frozen=True)
class Embedding(StoredArrays):
    """2-D features, clean and adversarial (N, 2), labels (N,), and class centers (C, 2)."""

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    centers: np.ndarray
    attack: str

    def shapes(self) -> Shapes:
        points = (len(self.labels), 2)
        return {"clean": points, "adversarial": points, "centers": (len(self.class_names), 2)}

    def classes(self) -> list[np.ndarray]:
        return [self.labels]


@dataclass(frozen=True)
class ProjectedFeatures(StoredArrays):
    """Features wider than two, clean and adversarial, in a plane: by PCA and by t-SNE (N, 2), with labels (N,).

    Args:
        pca_stars, tsne_stars: (C, 2), one point for each class among them; NaN for a class without one.
        explained: (2,), the shares of the variance that the axes of PCA have.
        stars: what these points are, in words.
    """

    pca_clean: np.ndarray
    pca_adversarial: np.ndarray
    pca_stars: np.ndarray
    tsne_clean: np.ndarray
    tsne_adversarial: np.ndarray
    tsne_stars: np.ndarray
    labels: np.ndarray
    explained: np.ndarray
    stars: str
    attack: str

    def shapes(self) -> Shapes:
        points, stars = (len(self.labels), 2), (len(self.class_names), 2)
        sides = {"clean": points, "adversarial": points, "stars": stars}
        planes = {f"{plane}_{side}": shape for plane in ("pca", "tsne") for side, shape in sides.items()}
        return planes | {"explained": (2,)}

    def classes(self) -> list[np.ndarray]:
        return [self.labels]


Arrays = TypeVar("Arrays", bound=StoredArrays)


def read_arrays(path: Path, kind: type[Arrays], again: str = "make it again with advdpnp illustrate") -> Arrays | None:
    """Arrays of a file of eval/; None where there is no such file, ValueError where it is not what it must be.

    Args:
        kind: what the file holds, field by field.
        again: what cures a damaged file.
    """
    if not is_there(path):
        return None

    def read() -> Arrays:
        arrays: dict[str, Any] = array_files.read_arrays(path, [field.name for field in fields(kind)])
        texts = {name: short_name(str(array)) for name, array in arrays.items() if array.ndim == 0}
        names = [short_name(str(name)) for name in arrays["class_names"]]
        found = kind(**arrays | texts | {"class_names": names})
        _check(found)
        return found

    return checked(path, again, read)


def _check(found: StoredArrays) -> None:
    """ValueError unless the arrays have the shapes of each other, finite numbers, and classes that have a name."""
    named, classes = len(found.class_names), found.classes()
    for name, shape in found.shapes().items():
        _check_numbers(name, getattr(found, name), shape)
    for array in classes:
        count = len(classes[0])
        if array.shape != (count,) or array.dtype.kind not in "iu" or not count:
            raise ValueError(f"labels or predictions have the shape {array.shape}, not ({count},) of whole numbers")
        if array.min() < 0 or array.max() >= named:
            raise ValueError(f"a label or prediction is none of the {named} classes that have a name")


def _check_numbers(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    import numpy as np

    # A class without an image has no star.
    finite = array.dtype.kind == "f" and (np.isfinite(array) | (name.endswith("stars") & np.isnan(array))).all()
    if array.shape != shape or not finite:
        raise ValueError(f"{name} is no array of finite numbers of the shape {shape}")
