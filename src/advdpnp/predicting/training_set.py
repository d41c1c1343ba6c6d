"""Embeddings of the images that a run was trained on: computed once, stored with the run, searched for the nearest."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdpnp.array_files import read_arrays
from advdpnp.data import Images
from advdpnp.evaluation import CHUNK, EvaluationCallback
from advdpnp.evaluation.single_pass import chunks
from advdpnp.metrics.distances import angles_degrees, distances, or_none
from advdpnp.models.classifier import Classifier
from advdpnp.predicting.predictions import TrainingImage
from advdpnp.runs import Run

# Candidates beyond the wanted ones, so that equal distances are put in order by position.
_SPARE = 8
# Earlier versions kept the embeddings of AT_HE at their own length.
_SCALE = "on the scale of the centers"


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Embeddings of training images, on the CPU.

    Args:
        features: (N, D) float32.
        labels: (N,) int64.
        index: (N,) int64 positions in the training split.
        class_names: one for each class.
        pixels: (M, channels, H, W) of the whole training split; None where the data files are missing.
        files: M names of files, of the whole training split; () where the data have none.
    """

    features: Tensor
    labels: Tensor
    index: Tensor
    class_names: tuple[str, ...]
    pixels: Tensor | None = None
    files: tuple[str, ...] = ()

    def with_pixels(self, pixels: Tensor | None) -> "TrainingSet":
        """The same set with its images, to show them."""
        return replace(self, pixels=pixels)

    def with_files(self, files: tuple[str, ...]) -> "TrainingSet":
        """The same set with the names of its files, to tell them."""
        return replace(self, files=files)

    def nearest_to_prototype(self, label: int, center: Tensor, count: int) -> list[TrainingImage]:
        """The images of class `label` whose embeddings make the smallest angles with its center, (D,)."""
        (rows,) = torch.where(self.labels == label)
        angles = angles_degrees(self.features[rows], center)
        rows, angles = rows[~angles.isnan()], angles[~angles.isnan()]
        nearest = rows[torch.argsort(angles, stable=True)[:count]]
        return self._described("prototype", nearest, center)

    def nearest_to_images(self, features: Tensor, count: int) -> list[list[TrainingImage]]:
        """For each embedding of (B, D) the images of any class at the smallest distances."""
        count = min(count, len(self.labels))
        wide, asked = self.features.double(), features.double()
        # ||f - g||^2 - ||f||^2; float64 orders as the differences themselves would.
        score = wide.square().sum(dim=1) - 2 * asked @ wide.T
        spare = min(count + _SPARE, len(self.labels))
        candidates = score.topk(spare, largest=False).indices.sort().values
        return [
            self._described("image", rows[torch.argsort(distances(self.features[rows], f), stable=True)[:count]], f)
            for rows, f in zip(candidates, features)
        ]

    def _described(self, to: Literal["prototype", "image"], rows: Tensor, target: Tensor) -> list[TrainingImage]:
        near, far = distances(self.features[rows], target), angles_degrees(self.features[rows], target)
        return [
            TrainingImage(
                to, index, self.class_names[label], distance, or_none(angle), self._pixels(index), self._file(index)
            )
            for index, label, distance, angle in zip(
                self.index[rows].tolist(), self.labels[rows].tolist(), near.tolist(), far.tolist()
            )
        ]

    def _pixels(self, index: int) -> Any:
        return None if self.pixels is None else self.pixels[index].numpy()

    def _file(self, index: int) -> str:
        return self.files[index] if self.files else ""


@torch.no_grad()
def embed_training_set(
    model: Classifier, images: Images, index: Tensor, names: tuple[str, ...], callback: EvaluationCallback
) -> TrainingSet:
    """The embeddings of the images at `index`, (N,) int64 positions in `images`, in static chunks.

    Args:
        model: in eval mode.
        images: the training split, on the model's device.
        index: the images that the run was trained on.
        names: one for each class.
        callback: called after every chunk.
    """
    chosen, features = images.select(index.to(images.labels.device)), []
    callback.on_attack("embeddings of the training images, kept for the next time", len(chosen))
    for chunk in chunks(chosen, len(chosen), CHUNK):
        features.append(model.embed(chunk.x)[: chunk.valid].float().cpu())
        callback.on_images(chunk.valid)
    return TrainingSet(torch.cat(features), chosen.labels.cpu(), index.cpu(), names, images.pixels.cpu())


def weights_key(run: Run, checkpoint: str) -> str:
    """SHA-256 of a checkpoint, which includes the configuration and so the data, and the scale of the embeddings."""
    with run.stored_weights_path(checkpoint).open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()} {_SCALE}"


def _path(run: Run, checkpoint: str) -> Path:
    return run.eval_path(f"neighbors-{checkpoint}.npz")


def write_training_set(run: Run, checkpoint: str, training: TrainingSet) -> None:
    """Store the embeddings as eval/neighbors-<checkpoint>.npz."""
    arrays = {name: getattr(training, name).numpy() for name in ("features", "labels", "index")}
    run.write_arrays(_path(run, checkpoint).name, arrays | {"weights": np.array(weights_key(run, checkpoint))})


def read_training_set(run: Run, checkpoint: str, class_names: tuple[str, ...]) -> TrainingSet | None:
    """The stored embeddings of these very weights; None if there are none, or the file is damaged."""
    try:
        stored = read_arrays(_path(run, checkpoint), ("features", "labels", "index", "weights"))
    except (OSError, ValueError, KeyError):
        return None
    features, labels, index = (stored[name] for name in ("features", "labels", "index"))
    if str(stored["weights"]) != weights_key(run, checkpoint) or not _is_sound(features, labels, index):
        return None
    # Copies: what was read shares read-only memory with the file's bytes.
    return TrainingSet(torch.tensor(features), torch.tensor(labels), torch.tensor(index), class_names)


def _is_sound(features: NDArray[Any], labels: NDArray[Any], index: NDArray[Any]) -> bool:
    """Whether arrays from a file are embeddings with their labels and positions: anyone may have written them."""
    kinds = [str(array.dtype) for array in (features, labels, index)] == ["float32", "int64", "int64"]
    if not kinds or features.ndim != 2 or not len(features) or not labels.shape == index.shape == features.shape[:1]:
        return False
    return bool(labels.min() >= 0 and index.min() >= 0 and np.isfinite(features).all())
