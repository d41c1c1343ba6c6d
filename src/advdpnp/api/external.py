"""Evaluates networks that advdpnp did not train: in memory, or from a callable and a weights file."""

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from advdpnp import data
from advdpnp.api.environment import environment, resolve_device
from advdpnp.api.opened_network import opened
from advdpnp.api.protocol import Protocol, Radii, Radius, radius_of, suite_of
from advdpnp.api.stored_evaluation import (
    EvaluationKeywords,
    EvaluationOptions,
    MeasuringKeywords,
    StoredEvaluation,
    summed_up,
)
from advdpnp.api.test_sets import corruptions_of, named_or_given
from advdpnp.api.transfer import source_of
from advdpnp.attacks.adaptive import check_objective
from advdpnp.attacks.attack import check_images, check_labels, in_box
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.callbacks import Silent
from advdpnp.data import DataSpec, Images
from advdpnp.data.memory.sources import as_tensors
from advdpnp.deprecation import renamed
from advdpnp.evaluation import EvaluationCallback, check_mode, examine
from advdpnp.evaluation import evaluate as run_evaluation
from advdpnp.evaluation.one_output import with_class_logits
from advdpnp.evaluation.randomness import draws_from, with_draws
from advdpnp.evaluation.single_pass import as_stated
from advdpnp.external import ExternalModel
from advdpnp.external.external_model import single_precision, tensors_sum
from advdpnp.runs import Json
from advdpnp.threat import Norm


class InMemoryKeywords(MeasuringKeywords, total=False):
    """Fields of `EvaluationOptions` for images in memory, as keyword arguments."""

    resume: Path | str | None


@renamed(listener="callback")
@as_stated()
def evaluate_model(
    model: nn.Module,
    x: Any,
    y: Any = None,
    *,
    suite: Protocol = "quick",
    eps: Radius | None = None,
    norm: Norm | None = None,
    callback: EvaluationCallback | None = None,
    chunk: int | None = None,
    resume: Path | str | None = None,
    **options: Any,
) -> Json:
    """Attack any classifier on images in memory; nothing is written, but to `resume`.

    Args:
        model: in eval mode, x (B, channels, H, W) in [0, 1] -> logits (B, C), or one output for two classes, the logit
            of class 1; the attacks run on its device.
        x: (N, channels, H, W), (N, H, W, channels) or (N, H, W), a tensor, numpy array or list, float in [0, 1] or
            bytes; or images and labels in one, as `advdpnp.given` takes and makes them.
        y: (N,) integers.
        suite: a suite's name, a suite, an attack such as `PGD(eps=8 / 255)`, or a list of attacks, as objects or texts
            such as "pgd:steps=40,step_size=0.01".
        eps: radius of a suite by name, and of texts that give none, as 8 / 255 or "8/255"; None for 8/255, which is of
            linf alone.
        norm: "linf", or "l2" or "l1" for the same attacks there; None for linf.
        callback: called as the evaluation proceeds, see `advdpnp.callbacks`.
        chunk: rows of every forward; None for the usual number: 128, fewer where there are fewer images.
        resume: a file that keeps what is found while the evaluation runs. Where it is there already, an evaluation of
            the same network, images and attacks goes on from it. It is removed at the end.
        options: limit, indices, seed, seeds, shard, batch_size, search_precision, eot, transfer_from: see
            `advdpnp.api.stored_evaluation.EvaluationOptions`. The result of a shard is for
            `advdpnp.evaluation.merge_shards`.
    Returns:
        What a run's eval/<suite>.json holds, with "warnings".
    Raises:
        ValueError: in one line, what makes the numbers meaningless: see `advdpnp.evaluation.examine`.
    """
    how, kept = EvaluationOptions(**options), _kept(resume)
    check_mode(model)
    images = in_memory_images(x, y)
    on, pixels = network_device(model, images.pixels), math.prod(images.pixels.shape[1:])
    radii = Radii({"linf": 8 / 255}, "a set of images in memory", pixels, radius_of(eps), named=False)
    wanted = suite_of(suite, radii, norm)
    for attack in wanted.attacks:
        check_objective(attack)
    how.which(len(images))
    images = images.to(on)
    x, _ = images.first(1)
    ready, cautions = single_precision(out_of_inference(model), x)
    with draws_from(how.seed, on, how.eot):
        ready, said = with_class_logits(ready, images)
        cautions += said + examine(ready, images, attacked=bool(wanted.attacks), random=how.eot != 1)
        ready, said = with_draws(ready, how.eot, images)
        cautions += said
    source = source_of(how.transfer_from, x)
    _warn(cautions)
    facts = {"data": "images in memory", "model": type(model).__name__, "checkpoint": "in memory", "precision": "fp32"}
    if kept is not None:
        measured = {"pixels": images.pixels, "labels": images.labels}
        facts |= {"weights": tensors_sum(ready.state_dict()), "images": tensors_sum(measured)}
    results, partials = [], []
    for seed in how.each_seed:
        usual = how.evaluation(wanted, len(images), facts, seed, source)
        partial = kept if kept is None or how.seeds == 1 else kept.with_name(f"{kept.name}.seed-{seed}")
        partials.append(partial)
        rows = usual.chunk if chunk is None else chunk
        evaluation = replace(usual, chunk=rows, partial=partial, resume=partial is not None)
        results.append(run_evaluation(ready, images, evaluation, callback or Silent()))
    for partial in filter(None, partials):
        partial.unlink()
    result = summed_up(results)
    return result | {"warnings": cautions + result.get("warnings", []), "environment": environment(on)}


@renamed(listener="callback")
@as_stated()
def evaluate_external(
    source: ExternalModel,
    on_data: Any,
    suite: Protocol = "quick",
    *,
    eps: Radius | None = None,
    norm: Norm | None = None,
    suite_name: str | None = None,
    out: Path | str = "runs",
    device: str | None = None,
    data_root: Path | None = None,
    callback: EvaluationCallback | None = None,
    **options: Unpack[EvaluationKeywords],
) -> Json:
    """Attack an external model on a test set, and store the result as for a run.

    Args:
        source: callable, weights and normalization.
        on_data: the data set, its name, or images in memory, as `advdpnp.given` takes them.
        suite: as in `evaluate_model`.
        eps, norm, suite_name: as in `advdpnp.api.evaluate_run`.
        out: folder of all runs.
        device: torch device.
        data_root: folder of the data files.
        callback: called as the evaluation proceeds, see `advdpnp.callbacks`.
        options: limit, indices, seed, seeds, shard, batch_size, search_precision, resume, eot, transfer_from: see
            `advdpnp.api.stored_evaluation.EvaluationOptions`.
    Raises:
        ValueError, FileNotFoundError: in one line, what does not load, fit or make sense. Nothing is stored then.
    """
    how, callback = EvaluationOptions(**options), callback or Silent()
    cautions: list[str] = []
    spec, on = named_or_given(on_data, None, cautions), resolve_device(device)
    radii = Radii(spec.radii, spec.name, math.prod(spec.image_shape), radius_of(eps))
    wanted = suite_of(suite, radii, norm, suite_name)
    for attack in wanted.attacks:
        check_objective(attack)
    images = data.load(spec, "test", data_root).to(on)
    how.which(len(images))
    if remark := radii.remark(norm):
        callback.on_note(remark)
    network = opened(source, spec, out, callback.on_note)
    cautions += network.notes
    facts = {"data": spec.name, "model": source.name, "checkpoint": source.checkpoint, "precision": "fp32"}
    crafted_on = source_of(how.transfer_from, images.first(1)[0])
    corrupted = corruptions_of(wanted, spec, images, data_root, callback)
    evaluation = StoredEvaluation(network.run, wanted, images, facts, how, corrupted=corrupted, source=crafted_on)
    # Before the checks of the network, which take minutes.
    finished = evaluation.begin(on, callback)
    if finished is not None:
        return finished
    trained = source.as_built != "untrained"
    attacked, random = bool(wanted.attacks), how.eot != 1
    with draws_from(how.seed, on, how.eot):
        model, said = with_class_logits(network.model.to(on), images, spec.class_names)
        cautions += said + examine(model, images, spec.num_classes, attacked, trained, random)
        model, said = with_draws(model, how.eot, images)
        cautions += said
    _warn(cautions)
    network.keep(on)
    return evaluation.measure(model, on, callback, warnings=cautions)


def _kept(resume: Path | str | None) -> Path | None:
    """The file that keeps what is found; ValueError for a switch, as a run has it."""
    if isinstance(resume, bool):
        raise ValueError(
            "images in memory have no run folder: give the file that keeps what is found, as resume='part.json'; "
            f"got {resume}"
        )
    return None if resume is None else Path(resume)


def in_memory_images(x: Any, y: Any) -> Images:
    if isinstance(x, DataSpec):
        return data.load(x, "test")
    pixels, labels = as_tensors(x, y)
    # The number of classes is not known yet.
    check_labels(labels, len(pixels), torch.iinfo(torch.int64).max)
    if pixels.dtype == torch.uint8:
        return Images(pixels, labels)
    check_images(pixels)
    return Images(in_box(pixels), labels, levels=1)


def network_device(model: nn.Module, x: Tensor) -> torch.device:
    return next((tensor.device for tensor in [*model.parameters(), *model.buffers()]), x.device)


def _warn(cautions: list[str]) -> None:
    for text in cautions:
        warnings.warn(text, stacklevel=5)
