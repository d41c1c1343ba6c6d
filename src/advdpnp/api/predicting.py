"""Predictions of a run, or a model, for images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from advdpnp import data
from advdpnp.api.environment import resolve_device, use_tf32
from advdpnp.api.loading import chosen_checkpoint, load_checkpoint, stored_experiment
from advdpnp.api.run_images import RunImages, images_of, remember_images
from advdpnp.api.training import trained_on
from advdpnp.callbacks import Silent
from advdpnp.data.memory.tensors import channels_first, tensor_of
from advdpnp.deprecation import renamed
from advdpnp.dtype import float32_default
from advdpnp.evaluation import check_mode
from advdpnp.experiments import Experiment
from advdpnp.external.external_model import single_precision
from advdpnp.mode import settle
from advdpnp.models.classifier import Classifier
from advdpnp.predicting import (
    ROWS,
    Centers,
    Failure,
    Inputs,
    Prediction,
    Predictions,
    Predictor,
    TrainingSet,
    blocks_of_files,
    centers_of,
    embed_training_set,
    find_images,
    from_files,
    from_tensor,
    read_training_set,
    write_training_set,
)
from advdpnp.ranges import Count, Natural, check
from advdpnp.runs import Run

# The level that stands for 1.0 in pictures.
BYTES = 255


@renamed(listener="callback")
@float32_default()
def predict(
    source: Path | str | nn.Module | ExportedProgram,
    images: Path | str | Sequence[Path | str] | Tensor | NDArray[Any],
    *,
    checkpoint: str | None = None,
    top: int = 5,
    neighbors: int = 5,
    invert: bool = False,
    class_names: Sequence[str] = (),
    device: str | None = None,
    data_root: Path | None = None,
    callback: Silent | None = None,
) -> Predictions:
    """Class, probabilities, distances and angles to the class centers, and nearest training images, for each image.

    A probability is the softmax of the logits. It is no calibrated confidence: an image of no class at all gets one
    too. The answer for an image is the same alone and among others. The nearest training images are those that the run
    was trained on: of the winner's class near its center by angle, and of any class near the image by the distance of
    the embeddings, which are computed once and kept with the run. What is missing, and why, is in the answer's `notes`.
    Files are read some at a time, and only the first 40 answers keep their pixels, those that a picture shows.

    Args:
        source: a run's folder; or a model in eval mode, or torch.export program, images in [0, 1] -> logits, which has
            no training images.
        images: files and folders, for a run; or (N, channels, H, W), float32 in [0, 1] or uint8 as in the data, a
            tensor, or a numpy array, which may have the channels last.
        checkpoint: "last" or "best", of a run; None for last, and says so where best is of another epoch.
        top: how many classes are listed, at least 1.
        neighbors: how many training images are listed, for the winner's center and for the image; 0 for none.
        invert: make dark light and light dark, for dark ink on paper where the data has light on dark.
        class_names: of a model; by default its classes are called by number.
        device: torch device, of a run; a model and its images stay where they are.
        data_root: folder of the data files.
        callback: called as files are read and training images embedded.
    Raises:
        ValueError: a number out of range, a folder without images, unfit tensors, a model in training mode.
        FileNotFoundError: no such run, checkpoint or path. A file that is no image is a `Failure` in the answer.
    """
    check("top", top, Count)
    check("neighbors", neighbors, Natural)
    if isinstance(images, np.ndarray):
        images = from_array(images)
    if isinstance(source, ExportedProgram):
        source = settle(source.module())
    if isinstance(source, nn.Module):
        return _predict_with_model(source, images, tuple(class_names), top, invert)
    run, on = Run(Path(source)), resolve_device(device)
    done = stored_experiment(run)
    callback = callback or Silent()
    facts = in_bytes(done.data)
    blocks = _blocks_of(images, facts, invert, callback.on_note)
    use_tf32(False)
    checkpoint = chosen_checkpoint(run, checkpoint, callback.on_note)
    model, _ = load_checkpoint(run, checkpoint, on)
    centers, notes = centers_or_note(model)
    training = None
    readable, blocks = _until_readable(blocks)
    if neighbors and readable:
        training, missing = training_set(run, checkpoint, model, done, data_root, callback)
        notes += missing
    predictor = Predictor(model, done.data.class_names, centers, training, top, neighbors, facts.levels)
    return _answers(str(source), checkpoint, predictor, blocks, on, notes)


def _predict_with_model(
    model: nn.Module, images: object, class_names: tuple[str, ...], top: int, invert: bool
) -> Predictions:
    inputs = inputs_of_model(images, invert)
    check_mode(model)
    x, _ = inputs.images.first(1)
    model, notes = single_precision(model, x)
    centers, missing = centers_or_note(model)
    notes += missing
    predictor = Predictor(model, class_names, centers, None, top, 0)
    return _answers(type(model).__name__, None, predictor, [inputs], x.device, notes)


def from_array(images: NDArray[Any]) -> Tensor:
    """A numpy array of images, which may have the channels last, as a tensor (N, channels, H, W)."""
    pixels = channels_first(tensor_of(images, "images"))
    return pixels.float() if pixels.is_floating_point() else pixels


def inputs_of_model(images: object, invert: bool) -> Inputs:
    """The images for a model without a run: (N, channels, H, W), see `from_tensor`; ValueError for files."""
    if not isinstance(images, Tensor):
        raise ValueError("a model takes a tensor of images; give files to a run's folder, which knows size and classes")
    return from_tensor(images, BYTES, invert)


def in_bytes(facts: data.DataSpec) -> data.DataSpec:
    """Facts of the form in which images are read and shown: bytes, also where a run was trained on floats."""
    return replace(facts, levels=BYTES) if facts.levels == 1 else facts


def _blocks_of(
    images: Path | str | Sequence[Path | str] | Tensor, spec: data.DataSpec, invert: bool, tell: Callable[[str], None]
) -> Iterator[Inputs]:
    """As `inputs_of`, but of files some at a time; what is wrong with the paths is said at once."""
    if isinstance(images, Tensor):
        return iter([inputs_of(images, spec, invert, tell)])
    return blocks_of_files(_files(images), spec, invert, tell)


def _until_readable(blocks: Iterator[Inputs]) -> tuple[bool, Iterator[Inputs]]:
    """Whether any image can be read, and the same blocks."""
    begun: list[Inputs] = []
    for block in blocks:
        begun.append(block)
        if block.names:
            break
    return any(block.names for block in begun), chain(begun, blocks)


def _files(images: Path | str | Sequence[Path | str]) -> list[Path]:
    paths = [images] if isinstance(images, Path | str) else images
    return find_images([Path(path) for path in paths])


def inputs_of(
    images: Path | str | Sequence[Path | str] | Tensor, spec: data.DataSpec, invert: bool, tell: Callable[[str], None]
) -> Inputs:
    """The images that a caller names, in the form of a data set; ValueError or FileNotFoundError where there is none.

    Args:
        images: files and folders, or a tensor.
        spec: of the data set.
        invert: make dark light.
        tell: called with lines of progress.
    """
    if isinstance(images, Tensor):
        if images.shape[1:] != spec.image_shape:
            raise ValueError(f"images of {spec.name} are (N, *{spec.image_shape}); got {tuple(images.shape)}")
        return from_tensor(images, spec.levels, invert)
    return from_files(_files(images), spec, invert, tell)


def centers_or_note(model: nn.Module) -> tuple[Centers | None, list[str]]:
    """The class centers of a network; or None, and a line that says so."""
    try:
        return centers_of(model), []
    except TypeError as error:
        return None, [f"no distances and angles: {error}"]


def _answers(
    source: str,
    checkpoint: str | None,
    predictor: Predictor,
    blocks: Iterable[Inputs],
    device: torch.device,
    notes: Sequence[str],
) -> Predictions:
    answers = (block.answered(predictor(block.names, block.images.to(device))) for block in blocks)
    found = _with_pixels_of_the_first(chain.from_iterable(answers))
    kind = predictor.centers.kind if predictor.centers is not None else None
    return Predictions(source, checkpoint, kind, tuple(found), tuple(notes), predictor.levels)


def _with_pixels_of_the_first(answers: Iterable[Prediction | Failure]) -> Iterator[Prediction | Failure]:
    """The answers; only those that a picture shows keep their pixels, so that memory does not grow with the images."""
    predicted = 0
    for answer in answers:
        if isinstance(answer, Prediction):
            answer = answer if predicted < ROWS else answer.without_pixels()
            predicted += 1
        yield answer


def _whole(found: RunImages) -> data.Images:
    """All images of a split; ValueError where some are missing, since positions in it name the neighbors."""
    if found.missing:
        raise ValueError(found.remark)
    return found.images


def _are_of(stored: TrainingSet, model: Classifier, done: Experiment) -> bool:
    """Whether embeddings from a file have the width of this network's, and classes that its data have."""
    device = next(model.parameters()).device
    with torch.no_grad():
        width = model.embed(torch.zeros(1, *done.data.image_shape, device=device)).shape[1]
    return stored.features.shape[1] == width and int(stored.labels.max()) < done.data.num_classes


def training_set(
    run: Run, checkpoint: str, model: Classifier, done: Experiment, data_root: Path | None, callback: Silent
) -> tuple[TrainingSet | None, list[str]]:
    """The embeddings that are stored with the run, or new ones, which are then stored; and notes on what is missing."""
    stored = read_training_set(run, checkpoint, done.data.class_names)
    if stored is not None and not _are_of(stored, model, done):
        stored = None
    try:
        images = _whole(images_of(run, done.data, "train", data_root))
    except (ValueError, FileNotFoundError) as error:
        what = "nearest training images" if stored is None else "pictures of the nearest training images"
        return stored, [f"no {what}: {error}"]
    known = remember_images(run, done.data, data_root)
    files = tuple(image.name for image in known.train) if known is not None else ()
    if stored is not None and int(stored.index.max()) < len(images.labels):
        return stored.with_pixels(images.pixels).with_files(files), []
    index = trained_on(images.labels, done)
    training = embed_training_set(model, images, index, done.data.class_names, callback).with_files(files)
    try:
        write_training_set(run, checkpoint, training)
    except OSError as error:
        return training, [f"the embeddings of the training images could not be kept: {error}"]
    return training, []
