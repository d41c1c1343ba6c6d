"""Evaluates networks that advdpnp did not train: in memory, or from a callable and a weights file."""

import math
import warnings
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor, nn

from advdpnp import data, runs
from advdpnp.api.environment import environment, resolve_device
from advdpnp.api.stored_evaluation import EvaluationKeywords, EvaluationOptions, Protocol, StoredEvaluation, suite_of
from advdpnp.attacks.attack import check_images, check_labels
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.callbacks import Silent
from advdpnp.data import DataSpec, Images
from advdpnp.deprecation import renamed
from advdpnp.evaluation import CHUNK, Evaluation, EvaluationCallback, check_mode, examine
from advdpnp.evaluation import evaluate as run_evaluation
from advdpnp.evaluation.single_pass import as_stated
from advdpnp.external import ExternalModel
from advdpnp.external.external_model import single_precision
from advdpnp.runs import Json, Run


@renamed(listener="callback")
@as_stated()
def evaluate_model(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    suite: Protocol = "quick",
    eps: float = 8 / 255,
    callback: EvaluationCallback | None = None,
    chunk: int = CHUNK,
) -> Json:
    """Attack any classifier on images in memory; nothing is written.

    Args:
        model: in eval mode, x (B, channels, H, W) in [0, 1] -> logits (B, C); the attacks run on its device.
        x: (N, channels, H, W), float in [0, 1] or uint8.
        y: (N,) int64.
        suite: a suite's name, a suite, or attacks, as objects or texts such as "pgd:steps=40,step_size=0.01".
        eps: linf radius of a suite by name, and of texts that give none.
        callback: called as the evaluation proceeds, see `advdpnp.callbacks`.
        chunk: rows of every forward.
    Returns:
        What a run's eval/<suite>.json holds, with "warnings".
    Raises:
        ValueError: in one line, what makes the numbers meaningless: see `advdpnp.evaluation.examine`.
    """
    check_mode(model)
    images = _images(x, y)
    on = _device(model, x)
    wanted = suite_of(suite, eps, math.prod(x.shape[1:]))
    ready, cautions = single_precision(out_of_inference(model))
    images = images.to(on)
    cautions += examine(ready, images, attacked=bool(wanted.attacks))
    _warn(cautions)
    facts = {"data": "images in memory", "model": type(model).__name__, "checkpoint": "in memory", "precision": "fp32"}
    evaluation = Evaluation(suite=wanted, n=len(images), facts=facts, chunk=chunk)
    result = run_evaluation(ready, images, evaluation, callback or Silent())
    return result | {"warnings": cautions + result.get("warnings", []), "environment": environment(on)}


@renamed(listener="callback")
@as_stated()
def evaluate_external(
    source: ExternalModel,
    on_data: DataSpec | str,
    suite: Protocol = "quick",
    *,
    eps: float | None = None,
    suite_name: str = "custom",
    out: Path | str = "runs",
    device: str | None = None,
    data_root: Path | None = None,
    callback: EvaluationCallback | None = None,
    **options: Unpack[EvaluationKeywords],
) -> Json:
    """Attack an external model on a test set, and store the result as for a run.

    Args:
        source: callable, weights and normalization.
        on_data: the data set, or its name.
        suite: as in `evaluate_model`.
        eps: another radius than the data set's usual one.
        suite_name: name of the result, if `suite` is a list of attacks.
        out: folder of all runs.
        device: torch device.
        data_root: folder of the data files.
        callback: called as the evaluation proceeds, see `advdpnp.callbacks`.
        options: limit, seeds, shard, batch_size, resume: see `advdpnp.api.stored_evaluation.EvaluationOptions`.
    Raises:
        ValueError, FileNotFoundError: in one line, what does not load, fit or make sense. Nothing is stored then.
    """
    spec, on = data.spec(on_data) if isinstance(on_data, str) else on_data, resolve_device(device)
    wanted = suite_of(suite, spec.eps, math.prod(spec.image_shape), eps, suite_name)
    images = data.load(spec, "test", data_root).to(on)
    how = EvaluationOptions(**options)
    if how.limit is not None and not 1 <= how.limit <= len(images):
        raise ValueError(f"--limit must be from 1 to {len(images)}, the test images there are; got {how.limit}")
    model, cautions = source.open(spec)
    run, config = Run(source.folder(Path(out), spec)), source.config(spec, model)
    facts = {"data": spec.name, "model": source.name, "checkpoint": source.checkpoint, "precision": "fp32"}
    evaluation = StoredEvaluation(run, wanted, images, facts, how)
    if run.exists:
        # Before the checks of the network, which take minutes.
        run.create_or_verify(config)
        evaluation.check_free()
    model = model.to(on)
    cautions += examine(model, images, spec.num_classes, attacked=bool(wanted.attacks))
    _warn(cautions)
    if not run.create_or_verify(config):
        runs.write_json(run.folder / "environment.json", environment(on))
    return evaluation.measure(model, on, callback, warnings=cautions)


def _images(x: Tensor, y: Tensor) -> Images:
    if x.dim() != 4 or not len(x):
        raise ValueError(f"x must be (N, channels, H, W) with N at least 1; got {tuple(x.shape)}")
    if x.dtype != torch.uint8:
        check_images(x)
    # The number of classes is not known yet.
    check_labels(y, len(x), torch.iinfo(torch.int64).max)
    return Images(x.detach(), y, levels=255 if x.dtype == torch.uint8 else 1)


def _device(model: nn.Module, x: Tensor) -> torch.device:
    return next((tensor.device for tensor in [*model.parameters(), *model.buffers()]), x.device)


def _warn(cautions: list[str]) -> None:
    for text in cautions:
        warnings.warn(text, stacklevel=5)
