"""Arrays that an evaluation stores for figures: images with what was predicted, and two-dimensional features."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from advdpnp.report.run_files import is_there
from advdpnp.runs import checked
from advdpnp.stored_values import short_name

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Samples:
    """Some images of the test set: clean and adversarial (M, channels, H, W) in [0, 1], labels and predictions (M,)."""

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    clean_predictions: np.ndarray
    adversarial_predictions: np.ndarray
    class_names: list[str]
    attack: str


@dataclass(frozen=True)
class Embedding:
    """2-D features, clean and adversarial (N, 2), labels (N,), and class centers (C, 2)."""

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    centers: np.ndarray
    class_names: list[str]
    attack: str


Arrays = TypeVar("Arrays", Samples, Embedding)


def read_arrays(path: Path, kind: type[Arrays]) -> Arrays | None:
    """Arrays of a file of eval/; None where there is no such file, ValueError where it is not what it must be."""
    import numpy as np

    if not is_there(path):
        return None

    def read() -> Arrays:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names, attack = [short_name(str(name)) for name in stored["class_names"]], short_name(str(stored["attack"]))
            arrays = {
                field.name: stored[field.name] for field in fields(kind) if field.name not in ("class_names", "attack")
            }
        found = kind(**arrays, class_names=names, attack=attack)
        _check(found)
        return found

    return checked(path, "evaluate the run again", read)


def _check(found: Samples | Embedding) -> None:
    """ValueError unless the arrays have the shapes of each other, finite numbers, and classes that have a name."""
    import numpy as np

    points: dict[str, tuple[int, ...]]
    count, named = len(found.labels), len(found.class_names)
    if isinstance(found, Samples):
        shape = (count, *found.clean.shape[1:])
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise ValueError(f"clean has the shape {found.clean.shape}, not (images, 1 or 3 channels, H, W)")
        classes = [found.labels, found.clean_predictions, found.adversarial_predictions]
        points = {"clean": shape, "adversarial": shape}
    else:
        classes = [found.labels]
        points = {"clean": (count, 2), "adversarial": (count, 2), "centers": (named, 2)}
    for name, shape in points.items():
        array = getattr(found, name)
        if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{name} is no array of finite numbers of the shape {shape}")
    for array in classes:
        if array.shape != (count,) or array.dtype.kind not in "iu" or not count:
            raise ValueError(f"labels or predictions have the shape {array.shape}, not ({count},) of whole numbers")
        if array.min() < 0 or array.max() >= named:
            raise ValueError(f"a label or prediction is none of the {named} classes that have a name")
