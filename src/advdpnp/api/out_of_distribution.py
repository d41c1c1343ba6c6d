"""Tells images from outside by scores of a run, of a network from elsewhere, or of any network in memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from advdpnp.api.environment import environment, resolve_device
from advdpnp.api.external import in_memory_images, network_device
from advdpnp.api.loading import chosen_checkpoint, load_checkpoint, stored_experiment
from advdpnp.api.opened_network import examined
from advdpnp.api.outside_sets import Inside, OutsideSet, outside_sets
from advdpnp.api.protocol import Radii, Radius, adapted, radius_of, suite_of
from advdpnp.api.stored_evaluation import EvaluationOptions
from advdpnp.api.stored_ood import StoredOod, attack_key, only_measurement, outside_key
from advdpnp.api.test_sets import test_set
from advdpnp.attacks import Attack, Suite, label, record
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.defenses import Defense
from advdpnp.evaluation import EvaluationCallback, examine
from advdpnp.evaluation.one_output import with_class_logits
from advdpnp.evaluation.outside import OutsideMeasurement
from advdpnp.evaluation.single_pass import as_stated
from advdpnp.external import ExternalModel
from advdpnp.external.external_model import single_precision
from advdpnp.ood_results import OodResult
from advdpnp.results import SCHEMA
from advdpnp.runs import Json, Run
from advdpnp.threat import Ball

_ROWS = (
    "the class centers are the rows of a linear layer: training turns features towards them, but does not bring them "
    "near, so that the angle says more than the distance"
)
_LIMITS = (
    "the attack follows the classifier's loss and not the score: one that keeps the score up too may get past what is "
    "rejected here"
)


@as_stated()
def ood(
    what: Path | str | nn.Module,
    against: Any = None,
    *,
    on_data: Any = None,
    attack: Attack | str | Sequence[Attack | str] = "pgd",
    eps: Radius | None = None,
    norm: Ball | None = None,
    limit: int | None = None,
    indices: Any = None,
    seed: int = 0,
    checkpoint: str | None = None,
    device: str | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    callback: EvaluationCallback | None = None,
) -> Json:
    """How well a network's scores tell images from outside, and what is left when those of low scores are rejected.

    Test images are the positive class, and a higher score means more like them. The scores are distance and angle to
    the nearest class center (prototype), max-softmax, max-logit and energy: see `advdpnp.evaluation.scores.scores_of`.

    Args:
        what: a run's folder, or a network in memory, in eval mode.
        against: the outside: names of data sets, "uniform-noise", "gaussian-noise", "folder:PATH", or images in memory;
            one, a list, or a dict of images by name. None for noise and the usual data sets that are at hand. All are
            brought into the network's shape, and the result says how.
        on_data: the inside: of a run by default its own test images; of a network in memory (x, y).
        attack: under which accuracy is measured against coverage, as in `advdpnp.evaluate`: one or several.
        eps, norm: of attacks as text that give none; by default the data set's usual radius in linf.
        limit: the first so many images, of the inside and of each outside set.
        indices: which test images; None for all.
        seed: of the noise of attacks and of the noise images.
        checkpoint: of a run: "last" or "best".
        device: torch device; a network in memory stays where it is.
        data_root: folder of the data files.
        resume: of a run: do not measure again what is stored, or was found before an interruption.
        callback: called as the measurement proceeds, see `advdpnp.callbacks`.
    Returns:
        Fields of `advdpnp.ood_results.OodResult`; a run's is also stored as eval/ood/ood.json, where rows of earlier
        calls with the same images and weights are kept.
    Raises:
        ValueError, FileNotFoundError: in one line, what is missing, does not fit, or makes no sense.
    """
    callback, how = callback or Silent(), EvaluationOptions(limit=limit, indices=indices, seed=seed, resume=resume)
    wanted = _Wanted(against, attack, radius_of(eps), norm, data_root)
    if isinstance(what, nn.Module):
        if on_data is None or checkpoint or resume:
            raise ValueError("a network in memory needs on_data=(x, y), and has no checkpoint and nothing to resume")
        return _in_memory(what, on_data, wanted, how, callback)
    run, on = Run(Path(what)), resolve_device(device)
    done = stored_experiment(run)
    tested = test_set(run, done, on_data, data_root)
    checkpoint = chosen_checkpoint(run, checkpoint, callback.on_note)
    model, epoch = load_checkpoint(run, checkpoint, on)
    weights = run.weights_sha256(checkpoint)
    facts = {"data": tested.facts.name, "checkpoint": checkpoint, "epoch": epoch, "weights": weights}
    subject = _Subject(model, tested.images.to(on), tested.facts.class_names, done.data.radii, facts, run, done.defense)
    remarks = [*tested.remarks, *([_ROWS] if not model.head.centers_are_places else [])]
    return _measure(subject, wanted, tested.chosen(how), remarks, callback)


@as_stated()
def ood_external(
    source: ExternalModel,
    on_data: Any,
    against: Any = None,
    *,
    attack: Attack | str | Sequence[Attack | str] = "pgd",
    eps: Radius | None = None,
    norm: Ball | None = None,
    limit: int | None = None,
    indices: Any = None,
    seed: int = 0,
    out: Path | str = "runs",
    device: str | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    callback: EvaluationCallback | None = None,
) -> Json:
    """As `ood`, of an external model, whose result is stored as a run's is; `on_data` is the data set of its training.

    Raises:
        ValueError, FileNotFoundError: as `ood`, and what does not load or fit. Nothing is stored then.
    """
    callback, how = callback or Silent(), EvaluationOptions(limit=limit, indices=indices, seed=seed, resume=resume)
    ready = examined(source, on_data, how, out, device, data_root, callback.on_note)
    names, radii = ready.spec.class_names, ready.spec.radii
    subject = _Subject(ready.model, ready.images, names, radii, ready.facts, ready.run)
    wanted = _Wanted(against, attack, radius_of(eps), norm, data_root)
    return _measure(subject, wanted, how, ready.remarks, callback)


@dataclass(frozen=True)
class _Wanted:
    """What is compared and attacked with."""

    against: Any
    attack: Any
    eps: float | None
    norm: Ball | None
    data_root: Path | None

    def attacks(self, subject: "_Subject") -> tuple[Attack, ...]:
        pixels = math.prod(subject.images.pixels.shape[1:])
        radii = Radii(subject.radii, str(subject.facts["data"]), pixels, self.eps)
        listed = list(self.attack) if isinstance(self.attack, list | tuple) else [self.attack]
        suite = suite_of(listed, radii, self.norm)
        return (suite if subject.defense is None else adapted(suite, subject.defense)).attacks


@dataclass(frozen=True, eq=False)
class _Subject:
    """The network, its test set, and where the result goes (None: nowhere)."""

    model: nn.Module
    images: Images
    class_names: tuple[str, ...]
    radii: dict[str, float]
    facts: Json
    run: Run | None
    defense: Defense[Any] | None = None


def _in_memory(
    model: nn.Module, on_data: Any, wanted: _Wanted, how: EvaluationOptions, callback: EvaluationCallback
) -> Json:
    given = on_data if isinstance(on_data, tuple) else (on_data, None)
    images = in_memory_images(*given)
    images = images.to(network_device(model, images.pixels))
    ready, remarks = single_precision(out_of_inference(model), images.first(1)[0])
    ready, said = with_class_logits(ready, images)
    facts = {"data": "images in memory", "checkpoint": "in memory"}
    subject = _Subject(ready, images, (), {"linf": 8 / 255}, facts, None)
    return _measure(subject, wanted, how, [*remarks, *said, *examine(ready, images)], callback)


def _measure(
    subject: _Subject, wanted: _Wanted, how: EvaluationOptions, remarks: list[str], callback: EvaluationCallback
) -> Json:
    """Measure what is wanted, store what is found as it is found, and return the whole."""
    attacks, total = wanted.attacks(subject), len(subject.images)
    evaluation = how.evaluation(Suite("ood", "", attacks, None), total, subject.facts, how.seed)
    device = subject.images.labels.device
    channels, height, width = subject.images.pixels.shape[1:]
    inside = Inside(
        str(subject.facts["data"]), (channels, height, width), subject.class_names, evaluation.n, how.seed, device
    )
    sets = outside_sets(wanted.against, inside, wanted.data_root, callback.on_note)
    measurement = OutsideMeasurement(subject.model, subject.images, evaluation, callback)
    lacking = measurement.without_centers
    notes = [*remarks, *([f"no distance and no angle: {lacking}"] if lacking else []), *([_LIMITS] if attacks else [])]
    result = OodResult(
        schema=SCHEMA,
        **subject.facts,
        n=evaluation.n,
        indices=evaluation.indices,
        precision="fp32",
        chunk=evaluation.chunk,
        seed=how.seed,
        scores=measurement.scores,
        outside=[],
        accepting=[measurement.clean],
        notes=notes,
        environment=environment(device),
    )
    with only_measurement(subject.run):
        stored = StoredOod(subject.run, result, how.resume, callback.on_note)
        for attack in attacks:
            described = record(attack)
            stored.add(attack_key(described), label(described), partial(measurement.under, attack))
        for one in sets:
            n = min(len(one.images), how.limit or len(one.images))
            measure = partial(measurement.against, one.images, n, one.remarks)
            stored.add(outside_key(one.images.name), one.images.name, measure, partial(_same, one, n))
        return stored.finish().json()


def _same(one: OutsideSet, n: int, row: Any) -> bool:
    return bool((row.n, row.conversion) == (n, one.images.conversion))
