"""Makes what the report draws of a network: attacked images, confusion, features and their spread."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from advdpnp import runs
from advdpnp.api.environment import environment, resolve_device
from advdpnp.api.loading import chosen_checkpoint, load_checkpoint, stored_experiment
from advdpnp.api.opened_network import examined
from advdpnp.api.protocol import Radii, Radius, adapted, radius_of, suite_of
from advdpnp.api.stored_evaluation import EvaluationOptions
from advdpnp.api.test_sets import test_set
from advdpnp.attacks import PGD, Attack, Suite, record
from advdpnp.bounded_files import check_no_folder
from advdpnp.callbacks import Silent
from advdpnp.data import DataSpec, Images
from advdpnp.defenses import Defense
from advdpnp.evaluation import EvaluationCallback
from advdpnp.evaluation.pictures import Pictured, feature_width, pictured
from advdpnp.evaluation.single_pass import as_stated
from advdpnp.external import ExternalModel
from advdpnp.illustrations import EMBEDDING, PROJECTION, SAMPLES, Illustration, illustration_path, read_illustration
from advdpnp.lock import only_process
from advdpnp.ranges import Count, check
from advdpnp.results import SCHEMA
from advdpnp.runs import Json, Run
from advdpnp.threat import Ball

_NO_FEATURES = "the features of this network are not known: no picture of them and no spread, but images and confusion"


@as_stated()
def illustrate(
    folder: Path | str,
    *,
    attack: Attack | str | None = None,
    eps: Radius | None = None,
    norm: Ball | None = None,
    limit: int | None = None,
    indices: Any = None,
    seed: int = 0,
    samples: int = 10,
    checkpoint: str | None = None,
    device: str | None = None,
    data_root: Path | None = None,
    callback: EvaluationCallback | None = None,
) -> Json:
    """Attack a run's test images once, and store what the report draws of them.

    In the run's eval folder: samples.npz (attacked images), embedding.npz (features of width 2, as in the paper's
    Figure 2) or projection.npz (PCA and t-SNE of wider ones), and illustration/illustration.json (confusion and spread
    of the features). Files of an earlier call are replaced.

    Args:
        folder: the run's folder.
        attack: one, as an object or a text such as "pgd:steps=40,step_size=0.01". None for PGD-20 with step
            2.5 eps / 20, or, where features have width 2, the attack of Figure 2: PGD-40 with step eps / 30, which is
            0.01 on MNIST.
        eps, norm: of an attack that gives none; by default the data set's usual radius in linf.
        limit: the first so many images, of those that `indices` choose; None for all.
        indices: which test images, see `advdpnp.indices.parse_indices`; None for all.
        seed: of the attack's noise.
        samples: how many attacked images are stored, the first of each class.
        checkpoint: "last" or "best"; None for last.
        device: torch device.
        data_root: folder of the data files.
        callback: called as it proceeds, see `advdpnp.callbacks`.
    Returns:
        Fields of `advdpnp.illustrations.Illustration`.
    Raises:
        ValueError, FileNotFoundError: in one line, what is missing, does not fit, or makes no sense.
    """
    callback = callback or Silent()
    run, on = Run(Path(folder)), resolve_device(device)
    done = stored_experiment(run)
    tested = test_set(run, done, None, data_root)
    how = tested.chosen(EvaluationOptions(limit=limit, indices=indices, seed=seed))
    checkpoint = chosen_checkpoint(run, checkpoint, callback.on_note)
    model, epoch = load_checkpoint(run, checkpoint, on)
    weights = run.weights_sha256(checkpoint)
    facts = {"data": tested.facts.name, "checkpoint": checkpoint, "epoch": epoch, "weights": weights}
    wanted = _Wanted(attack, radius_of(eps), norm, how, samples)
    return _store(run, model, tested.images.to(on), tested.facts, wanted, facts, tested.remarks, callback, done.defense)


@as_stated()
def illustrate_external(
    source: ExternalModel,
    on_data: Any,
    *,
    attack: Attack | str | None = None,
    eps: Radius | None = None,
    norm: Ball | None = None,
    limit: int | None = None,
    indices: Any = None,
    seed: int = 0,
    samples: int = 10,
    out: Path | str = "runs",
    device: str | None = None,
    data_root: Path | None = None,
    callback: EvaluationCallback | None = None,
) -> Json:
    """As `illustrate`, of an external model: its attacked images and confusion, as its features are not known.

    Raises:
        ValueError, FileNotFoundError: as `illustrate`, and what does not load or fit. Nothing is stored then.
    """
    callback, how = callback or Silent(), EvaluationOptions(limit=limit, indices=indices, seed=seed)
    ready = examined(source, on_data, how, out, device, data_root, callback.on_note)
    wanted = _Wanted(attack, radius_of(eps), norm, how, samples)
    return _store(ready.run, ready.model, ready.images, ready.spec, wanted, ready.facts, ready.remarks, callback)


@dataclass(frozen=True)
class _Wanted:
    """The attack that is asked for, the images, and how many of them are shown."""

    attack: Attack | str | None
    eps: float | None
    norm: Ball | None
    how: EvaluationOptions
    samples: int

    def __post_init__(self) -> None:
        check("samples", self.samples, Count)

    def protocol(self, facts: DataSpec, width: int | None, defense: Defense[Any] | None) -> Suite:
        """The one attack, as a suite."""
        radii = Radii(facts.radii, facts.name, math.prod(facts.image_shape), self.eps)
        if self.attack is None and width == 2 and self.norm in (None, "linf"):
            radius = radii["linf"]
            found = suite_of(PGD(eps=radius, steps=40, step_size=radius / 30), radii, name="illustration")
        else:
            found = suite_of([self.attack or "pgd"], radii, self.norm, "illustration")
        return found if defense is None else adapted(found, defense)


def _store(
    run: Run,
    model: nn.Module,
    images: Images,
    facts: DataSpec,
    wanted: _Wanted,
    described: Json,
    remarks: list[str],
    callback: EvaluationCallback,
    defense: Defense[Any] | None = None,
) -> Json:
    """Attack, and write the arrays, then what is told of them."""
    check_no_folder(illustration_path(run), *map(run.eval_path, (SAMPLES, EMBEDDING, PROJECTION)))
    suite = wanted.protocol(facts, feature_width(model), defense)
    evaluation = wanted.how.evaluation(suite, len(images), described, wanted.how.seed)
    found = pictured(model, images, evaluation, facts.class_names, wanted.samples, callback)
    arrays = {SAMPLES: found.samples(), EMBEDDING: found.plane(), PROJECTION: found.projection()}
    notes = [*remarks, *_notes(found, evaluation.n, arrays[PROJECTION] is not None)]
    for line in notes:
        callback.on_note(line)
    projection = arrays[PROJECTION] or {}
    told = Illustration(
        schema=SCHEMA,
        **described,
        n=evaluation.n,
        indices=evaluation.indices,
        precision="fp32",
        chunk=evaluation.chunk,
        seed=wanted.how.seed,
        attack=record(found.attack),
        class_names=list(facts.class_names),
        confusion=found.confusion(),
        dimensions=found.dimensions,
        centers="" if found.centers is None else "prototypes" if found.prototypes else "rows",
        spread=found.spread(),
        projected=len(projection.get("labels", ())),
        notes=notes,
        environment=environment(images.labels.device),
    ).json()
    read_illustration(told)
    path = illustration_path(run)
    with only_process(path.with_suffix(".lock"), str(path.parent)):
        for name, content in arrays.items():
            if content is None:
                # Of an earlier call, under another attack.
                run.eval_path(name).unlink(missing_ok=True)
            else:
                run.write_arrays(name, content)
        runs.write_json(path, told)
    return told


def _notes(found: Pictured, n: int, projected: bool) -> list[str]:
    """What limits the meaning of the pictures."""
    notes = [] if found.dimensions else [_NO_FEATURES]
    if found.dimensions and found.dimensions > 2 and not projected:
        notes.append("all features are the same, or there are too few of them: nothing is projected")
    if found.without_answer:
        notes.append(
            f"{found.without_answer} of {n} images have answers that are not finite, clean or to the attack: where "
            "they stand in the confusion means nothing"
        )
    return notes
