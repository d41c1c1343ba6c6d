"""Audits networks for masked gradients: in memory, stored runs, and networks from elsewhere."""

import math
import time
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn
from torch.export import ExportedProgram

from advdpnp import data, runs
from advdpnp.api.environment import environment, resolve_device
from advdpnp.api.external import in_memory_images, network_device
from advdpnp.api.loading import chosen_checkpoint, load_checkpoint, stored_experiment
from advdpnp.api.opened_network import opened
from advdpnp.api.protocol import Radii, Radius, radius_of
from advdpnp.api.stored_evaluation import EvaluationOptions
from advdpnp.api.test_sets import named_or_given, test_set
from advdpnp.attacks.attack import Objective
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.audit_files import audit_name
from advdpnp.auditing import Audit, run_audit
from advdpnp.bounded_files import check_no_folder
from advdpnp.callbacks import EvaluationCallback, Silent
from advdpnp.data import Images
from advdpnp.evaluation.model_checks import check_not_empty
from advdpnp.evaluation.one_output import with_class_logits
from advdpnp.evaluation.single_pass import as_stated
from advdpnp.external import ExternalModel
from advdpnp.external.external_model import single_precision
from advdpnp.lock import only_process
from advdpnp.mode import settle
from advdpnp.ranges import unknown
from advdpnp.results import result_name
from advdpnp.runs import Json, Run
from advdpnp.threat import Ball, check_fits, check_level

# Images that an audit looks at, unless its caller says otherwise.
IMAGES = 200


def audit(what: Any, *arguments: Any, **options: Any) -> Audit:
    """Can a network's robust accuracy be believed? Looks for masked gradients.

    Args:
        what: a run's folder, see `advdpnp.api.audit.audit_run`, or a network or torch.export program, see
            `advdpnp.api.audit.audit_model`.
        arguments, options: of these.
    Returns:
        The verdict, with its checks; of a run it is written to eval/audit.json, too.
    Raises:
        ValueError, FileNotFoundError: in one line, images or options that make no sense. A network that cannot be
            audited has the verdict "refused" instead.
    """
    if isinstance(what, ExportedProgram):
        what = settle(what.module())
    if isinstance(what, nn.Module):
        return audit_model(what, *arguments, **options)
    return audit_run(what, *arguments, **options)


@as_stated()
def audit_model(
    model: nn.Module,
    x: Any,
    y: Any = None,
    *,
    eps: Radius | None = None,
    norm: Ball = "linf",
    limit: int | None = None,
    seed: int = 0,
    objective: Objective | None = None,
    callback: EvaluationCallback | None = None,
) -> Audit:
    """Audit any classifier on images in memory; nothing is written.

    Args:
        model: x (B, channels, H, W) in [0, 1] -> logits (B, C), or one output for two classes.
        x, y: images and labels, as `advdpnp.evaluate` takes them.
        eps: radius, as 8 / 255 or "8/255"; None for 8/255, which is of linf alone.
        norm: "linf" or "l2".
        limit: the first so many images; None for 200, or all where there are fewer.
        seed: of all random numbers.
        objective: what the network was trained with, as `advdpnp.attacks.attack.Objective`, for an adaptive attack;
            None where it is not known.
        callback: called as the audit proceeds, see `advdpnp.callbacks`.
    Raises:
        ValueError: images, labels, a radius or a number that makes no sense.
    """
    images = in_memory_images(x, y)
    radii = Radii({"linf": 8 / 255}, "a set of images in memory", math.prod(images.pixels.shape[1:]), radius_of(eps))
    how = EvaluationOptions(limit=_limit(limit, len(images)), seed=seed)
    chosen = _chosen(images, how).to(network_device(model, images.pixels))
    return _audited(model, chosen, radii[norm], norm, seed, objective, callback or Silent())


@as_stated()
def audit_run(
    folder: Path | str,
    *,
    eps: Radius | None = None,
    norm: Ball = "linf",
    on_data: Any = None,
    checkpoint: str | None = None,
    limit: int | None = None,
    indices: Any = None,
    seed: int = 0,
    device: str | None = None,
    data_root: Path | None = None,
    callback: EvaluationCallback | None = None,
) -> Audit:
    """Audit a run's classifier on a test set, with its defense's objective as adaptive loss; writes eval/audit.json.

    Args:
        folder: the run's folder.
        eps: another radius than the data set's usual one; the result is then named after it.
        norm: "linf", or "l2", which writes eval/audit-l2.json.
        on_data: another test set, as `advdpnp.evaluate` takes it; writes eval/audit@<data>.json.
        checkpoint: "last" or "best"; None for last.
        limit: the first so many images; None for 200.
        indices: which test images, as `advdpnp.evaluate` takes them; None for the first ones.
        seed: of all random numbers.
        device: torch device.
        data_root: folder of the data files.
        callback: called as the audit proceeds, see `advdpnp.callbacks`.
    """
    callback, run, on = callback or Silent(), Run(Path(folder)), resolve_device(device)
    done = stored_experiment(run)
    tested = test_set(run, done, on_data, data_root)
    radii = Radii(done.data.radii, done.data.name, math.prod(done.data.image_shape), radius_of(eps))
    how = tested.chosen(EvaluationOptions(limit=_limit(limit, len(tested.images)), indices=indices, seed=seed))
    checkpoint = chosen_checkpoint(run, checkpoint, callback.on_note)
    model, epoch = load_checkpoint(run, checkpoint, on)
    objective = Objective(done.defense.name, done.defense.objective)
    began, radius = time.perf_counter(), radii[norm]
    images = _chosen(tested.images, how).to(on)
    name = result_name(audit_name(norm, radius, radii.usual.get(norm)), tested.other)
    with _only_audit(run, name):
        found = _audited(model, images, radius, norm, seed, objective, callback)
        weights = run.weights_sha256(checkpoint)
        facts = {"data": tested.facts.name, "checkpoint": checkpoint, "epoch": epoch, "weights": weights}
        _write(run, name, found, facts | _which(how, len(tested.images)), on, began)
    return found


@as_stated()
def audit_external(
    source: ExternalModel,
    on_data: Any,
    *,
    eps: Radius | None = None,
    norm: Ball = "linf",
    limit: int | None = None,
    indices: Any = None,
    seed: int = 0,
    out: Path | str = "runs",
    device: str | None = None,
    data_root: Path | None = None,
    callback: EvaluationCallback | None = None,
) -> Audit:
    """Audit a network from elsewhere on a test set, and store the result as for a run.

    Args:
        source: callable, weights and normalization.
        on_data: the data set, its name, or images in memory.
        out: folder of all runs.
        eps, norm, limit, indices, seed, device, data_root, callback: as in `audit_run`.
    """
    callback, remarks = callback or Silent(), list[str]()
    spec, on = named_or_given(on_data, None, remarks), resolve_device(device)
    radii = Radii(spec.radii, spec.name, math.prod(spec.image_shape), radius_of(eps))
    images = data.load(spec, "test", data_root)
    how = EvaluationOptions(limit=_limit(limit, len(images)), indices=indices, seed=seed)
    network = opened(source, spec, out, callback.on_note)
    began, radius = time.perf_counter(), radii[norm]
    chosen = _chosen(images, how).to(on)
    name = audit_name(norm, radius, radii.usual.get(norm))
    with _only_audit(network.run, name):
        found = _audited(network.model.to(on), chosen, radius, norm, seed, None, callback)
        network.keep(on)
        described = {"model": source.name, "checkpoint": source.checkpoint, "notes": [*remarks, *network.notes]}
        facts = {"data": spec.name, **described}
        _write(network.run, name, found, facts | _which(how, len(images)), on, began)
    return found


def _only_audit(run: Run, name: str) -> AbstractContextManager[None]:
    """Keeps out other processes that would write the same audit."""
    check_no_folder(*(run.eval_path(f"{name}.{kind}") for kind in ("json", "svg")))
    return only_process(run.eval_path(f"{name}.lock"), str(run.eval_path(f"{name}.json")))


def _limit(limit: int | None, total: int) -> int:
    return min(IMAGES, total) if limit is None else limit


def _which(how: EvaluationOptions, total: int) -> Json:
    n, chosen = how.which(total)
    return {"indices": list(chosen) if chosen is not None else f"0-{n - 1}"}


def _chosen(images: Images, how: EvaluationOptions) -> Images:
    check_not_empty(images)
    n, chosen = how.which(len(images))
    return images.select(torch.arange(n) if chosen is None else torch.tensor(chosen))


def _audited(
    model: nn.Module,
    images: Images,
    eps: float,
    norm: Ball,
    seed: int,
    objective: Objective | None,
    callback: EvaluationCallback,
) -> Audit:
    if norm not in get_args(Ball):
        raise unknown("norm", norm, Ball)
    check_level(norm, eps)
    check_fits(norm, eps, tuple(images.pixels.shape[1:]))
    if eps == 0:
        raise ValueError("eps must be above 0: at radius 0 there is nothing to attack")
    ready, said = single_precision(out_of_inference(model), images.first(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ready, more = with_class_logits(ready, images)
    for text in [*said, *more]:
        callback.on_note(text)
    x, y = images.first(len(images))
    return run_audit(ready, x, y, eps, norm, seed, callback, objective)


def _write(run: Run, name: str, found: Audit, facts: Json, on: torch.device, began: float) -> None:
    seconds = round(time.perf_counter() - began, 1)
    content = {"schema": 1, **facts, **found.as_json(), "seconds": seconds, "environment": environment(on)}
    runs.write_json(run.eval_path(f"{name}.json"), content)
    from advdpnp.report.figures.audit import audit_figure

    runs.write_bytes(run.eval_path(f"{name}.svg"), audit_figure(content).encode())
