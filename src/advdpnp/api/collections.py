"""Runs the suites of a table of the paper one after the other: protocol and forecast first, finished ones skipped."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advdpnp import data
from advdpnp.api.environment import resolve_device
from advdpnp.api.evaluation import evaluate_run
from advdpnp.api.external import evaluate_external, evaluate_model, in_memory_images, network_device
from advdpnp.api.loading import load_checkpoint, stored_experiment
from advdpnp.api.protocol import Radii, Radius, radius_of, suite_of
from advdpnp.api.stored_evaluation import EvaluationOptions
from advdpnp.api.test_sets import named_or_given, test_set
from advdpnp.attacks import COLLECTIONS, Attack, Suite, record
from advdpnp.attacks.collections import Collection, Part
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.data.corruption_sources import GENERATED
from advdpnp.data.corruptions import CORRUPTIONS, SEVERITIES
from advdpnp.evaluation import EvaluationCallback
from advdpnp.evaluation.corruptions import time_corruption
from advdpnp.evaluation.forecast import forecast, time_gradient
from advdpnp.evaluation.single_pass import AttackTarget, as_stated, model_to_attack, usual_chunk
from advdpnp.external import ExternalModel
from advdpnp.ranges import nearest
from advdpnp.result_files import ResultFiles, read_stored
from advdpnp.results import AttackKey, result_name
from advdpnp.runs import Json, Run

# A suite and its radius (None: the usual one) to a result.
One = Callable[[str, float | None], Json]


def evaluate_collection(
    what: Path | str | nn.Module | ExternalModel,
    name: str,
    *arguments: Any,
    eps: Radius | None = None,
    norm: str | None = None,
    callback: EvaluationCallback | None = None,
    **options: Any,
) -> Json:
    """Evaluate the suites of a table or figure of the paper, such as "table3"; each is stored under its own name.

    What is finished with the same images, weights and seed is shown and not measured again.

    Args:
        what: a run's folder, a network of `advdpnp.external`, or a network in memory.
        name: of the collection, see `advdpnp list suites`.
        arguments: of a network of `advdpnp.external` its data set; of one in memory x, and y.
        eps: the radius in linf that stands for the data set's usual one, from which the others follow.
        norm: no collection takes one, since its suites have their norms.
        callback: called as the evaluations proceed, after the protocol and the forecast of the whole.
        options: as of `advdpnp.evaluate`.
    Returns:
        "suite", the name, and "evaluations", the results in order.
    Raises:
        ValueError: an unknown collection, a norm, or what an evaluation of its own would raise.
    """
    if name not in COLLECTIONS:
        raise ValueError(f"unknown table {name!r}; nearest: {nearest(name, COLLECTIONS)}")
    if norm is not None:
        raise ValueError(f"{name} has suites in their own norms: leave norm {norm} out, or evaluate one of its suites")
    collection, callback, wide = COLLECTIONS[name], callback or Silent(), radius_of(eps)
    if isinstance(what, nn.Module | ExternalModel) and len(collection.parts) > 1:
        # What it was trained with is not known.
        collection = replace(collection, parts=tuple(part for part in collection.parts if part.suite != "objective"))
    if isinstance(what, nn.Module):
        return _in_memory(collection, what, arguments, wide, callback, options)
    options["resume"] = True
    if isinstance(what, ExternalModel):
        return _external(collection, what, arguments[0], wide, callback, options)
    return _run(collection, Run(Path(what)), wide, callback, options)


@as_stated()
def _run(
    collection: Collection, run: Run, eps: float | None, callback: EvaluationCallback, options: dict[str, Any]
) -> Json:
    done, on = stored_experiment(run), resolve_device(options.get("device"))
    tested = test_set(run, done, options.get("on_data"), options.get("data_root"))
    model, _ = load_checkpoint(run, options.get("checkpoint") or "last", on)
    radii = Radii(done.data.radii, done.data.name, math.prod(done.data.image_shape), eps)
    how = tested.chosen(_how(options))
    finished = partial(_is_finished, run, how, len(tested.images), tested.other)
    one = partial(_one_of_run, run.folder, callback, options)
    return _all(collection, radii, model, tested.images.to(on), how, one, finished, callback)


@as_stated()
def _external(
    collection: Collection,
    source: ExternalModel,
    on_data: Any,
    eps: float | None,
    callback: EvaluationCallback,
    options: dict[str, Any],
) -> Json:
    spec, on = named_or_given(on_data, None, []), resolve_device(options.get("device"))
    images = data.load(spec, "test", options.get("data_root")).to(on)
    model, _ = source.with_usual_normalization(spec)[0].open(spec)
    radii = Radii(spec.radii, spec.name, math.prod(spec.image_shape), eps)
    run, how = Run(source.folder(Path(options.get("out", "runs")), spec)), _how(options)
    finished = partial(_is_finished, run, how, len(images), "")

    def one(suite: str, radius: float | None) -> Json:
        return evaluate_external(source, on_data, suite, eps=radius, callback=callback, **options)

    return _all(collection, radii, model.to(on), images, how, one, finished, callback)


@as_stated()
def _in_memory(
    collection: Collection,
    model: nn.Module,
    arguments: tuple[Any, ...],
    eps: float | None,
    callback: EvaluationCallback,
    options: dict[str, Any],
) -> Json:
    if options.get("resume") is not None:
        raise ValueError("a table of a network in memory is not resumed: leave resume out, or evaluate suite by suite")
    x, y = [*arguments, options.pop("y", None)][:2] if arguments else (options.pop("x"), options.pop("y", None))
    images = in_memory_images(x, y)
    images = images.to(network_device(model, images.pixels))
    radii = Radii({"linf": 8 / 255}, "a set of images in memory", math.prod(images.pixels.shape[1:]), eps, named=False)

    def one(suite: str, radius: float | None) -> Json:
        return evaluate_model(model, x, y, suite=suite, eps=radius, callback=callback, **options)

    return _all(collection, radii, model, images, _how(options), one, lambda suite: False, callback)


def _how(options: dict[str, Any]) -> EvaluationOptions:
    known = ("limit", "indices", "seed", "seeds", "shard", "batch_size", "search_precision")
    return EvaluationOptions(**{name: options[name] for name in known if name in options})


def _one_of_run(
    folder: Path, callback: EvaluationCallback, options: dict[str, Any], suite: str, radius: float | None
) -> Json:
    return evaluate_run(folder, suite, eps=radius, callback=callback, **options)


def _is_finished(run: Run, how: EvaluationOptions, total: int, other_data: str, suite: Suite) -> bool:
    """Whether a suite is stored, of these images: then the forecast leaves it out."""
    path = ResultFiles(run, result_name(suite.name, other_data)).result
    try:
        stored = read_stored(path)
    except (ValueError, FileNotFoundError):
        # Measured again, where what is wrong with it is told.
        return False
    wanted = how.evaluation(suite, total, {}, how.seed)
    return all(stored.get(name) == getattr(wanted, name) for name in ("n", "indices", "seed"))


def _all(
    collection: Collection,
    radii: Radii,
    model: nn.Module,
    images: Images,
    how: EvaluationOptions,
    one: One,
    finished: Callable[[Suite], bool],
    callback: EvaluationCallback,
) -> Json:
    n, _ = how.which(len(images))
    suites = [suite_of(part.suite, replaced(radii, part)) for part in collection.parts]
    for line in protocol_lines(collection, suites, n):
        callback.on_note(line)
    left = [suite for suite in suites if not finished(suite)]
    if left:
        callback.on_note(f"{len(left)} of {len(suites)} evaluations are still to be made; together:")
        _tell_forecast(model, images, how, left, callback)
    results: list[Json] = []
    for part, suite in zip(collection.parts, suites, strict=True):
        callback.on_note(f"{suite.name} ({len(results) + 1} of {len(suites)})")
        results.append(one(part.suite, _radius(radii, part)))
    return {"suite": collection.name, "evaluations": results}


def _tell_forecast(
    model: nn.Module, images: Images, how: EvaluationOptions, left: list[Suite], callback: EvaluationCallback
) -> None:
    n, chosen = how.which(len(images))
    places = torch.tensor(chosen) if chosen else torch.arange(n)
    target = AttackTarget(model, model_to_attack(model), images, places.to(images.labels.device), how.seed)
    attacks: list[tuple[Attack | None, int]] = [(attack, n) for suite in left for attack in (None, *suite.attacks)]
    corrupted = sum(n * len(CORRUPTIONS) * SEVERITIES for suite in left if suite.corruptions)
    chunk = usual_chunk(n)
    try:
        measured = images.select(target.places[:chunk])
        passes = forecast(time_gradient(target.attacked_model, measured, chunk), [*attacks, (None, corrupted)])
        # Published ones are only read.
        callback.on_forecast(passes + (corrupted * time_corruption(target, GENERATED) if corrupted else 0.0))
    except Exception:
        # A network that fails here is refused in a line by the first evaluation, which examines it.
        callback.on_note("no forecast: the network cannot be called as it is")


def replaced(radii: Radii, part: Part) -> Radii:
    """Radii in which the usual one is that of a part."""
    return Radii(radii.usual, radii.of, radii.pixels, _radius(radii, part), radii.named)


def _radius(radii: Radii, part: Part) -> float | None:
    return radii.asked if part.scale == 1 else part.scale * radii["linf"]


def protocol_lines(collection: Collection, suites: list[Suite], n: int) -> list[str]:
    """What will be measured, in lines: every attack with radius, step, iterations, start and restarts.

    Args:
        collection: the table.
        suites: of its parts.
        n: how many images.
    """
    lines = [f"{collection.name}: {collection.description}; {n:,} test images"]
    for suite in suites:
        lines.append(f"  {suite.name}: {suite.description}")
        lines += [f"    {AttackKey.read(record(attack)).details}" for attack in suite.attacks]
    return lines
