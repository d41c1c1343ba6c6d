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
Ends = dict[str, tuple[float, float]]

# Numbers of float32 may be a little beyond their ends.
_ROUNDING = 1e-5
# Axes of a figure, and squares of distances, are still finite.
_LARGEST = 1e30


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

    def ends(self) -> Ends:
        """The smallest and the largest number of each array that has such."""
        return {}


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

    def ends(self) -> Ends:
        return {"clean": (0.0, 1.0), "adversarial": (0.0, 1.0)}

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

    def ends(self) -> Ends:
        return {"explained": (0.0, 1.0)}

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
        texts = {field.name: _texts(field.name, arrays, 0)[0] for field in fields(kind) if field.type == "str"}
        found = kind(**arrays | texts | {"class_names": _texts("class_names", arrays, 1)})
        _check(found)
        return found

    return checked(path, again, read)


def _texts(name: str, arrays: dict[str, np.ndarray], dimensions: int) -> list[str]:
    """The texts of an array, to be shown; ValueError unless it holds such, in so many dimensions."""
    array = arrays[name]
    if array.ndim != dimensions or array.dtype.kind != "U":
        what = "list of texts" if dimensions else "text"
        raise ValueError(f"{name} is {array.dtype} of the shape {array.shape}, not a {what}")
    return [short_name(text) for text in array.reshape(-1).tolist()]


def _check(found: StoredArrays) -> None:
    """ValueError unless the arrays have the shapes of each other, finite numbers, and classes that have a name."""
    named, classes = len(found.class_names), found.classes()
    for name, shape in found.shapes().items():
        _check_numbers(name, getattr(found, name), shape, found.ends().get(name, (-_LARGEST, _LARGEST)))
    for array in classes:
        count = len(classes[0])
        if array.shape != (count,) or array.dtype.kind not in "iu" or not count:
            raise ValueError(f"labels or predictions have the shape {array.shape}, not ({count},) of whole numbers")
        if array.min() < 0 or array.max() >= named:
            raise ValueError(f"a label or prediction is none of the {named} classes that have a name")


def _check_numbers(name: str, array: np.ndarray, shape: tuple[int, ...], ends: tuple[float, float]) -> None:
    import numpy as np

    # A class without an image has no star.
    numbers = array.dtype.kind == "f" and (np.isfinite(array) | (name.endswith("stars") & np.isnan(array))).all()
    if array.shape != shape or not numbers:
        raise ValueError(f"{name} is no array of finite numbers of the shape {shape}")
    low, high = ends
    if (array < low - _ROUNDING).any() or (array > high + _ROUNDING).any():
        raise ValueError(f"{name} has numbers below {low:g} or above {high:g}")
