"""Explanations of single images by a run, or a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from advdpnp.api.environment import resolve_device
from advdpnp.api.explained_images import ChosenImages, Label, check_count, chosen_images, class_index, given_images
from advdpnp.api.loading import chosen_checkpoint, load_checkpoint, stored_experiment
from advdpnp.api.predicting import (
    BYTES,
    centers_or_note,
    from_array,
    in_bytes,
    inputs_of_model,
    training_set,
)
from advdpnp.api.protocol import Radii, adapted, suite_of
from advdpnp.attacks import ATTACKS, Attack, record
from advdpnp.attacks.attack import check_target
from advdpnp.attacks.monitored_model import logits_alone, out_of_inference
from advdpnp.attacks.stepwise import stepwise_attacks
from advdpnp.attacks.suites import l1_radius, l2_radius, widest
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import check_mode
from advdpnp.evaluation.forecast import forecast, time_gradient
from advdpnp.evaluation.model_checks import gradient_warnings
from advdpnp.evaluation.one_output import TwoLogits
from advdpnp.evaluation.single_pass import as_stated, model_to_attack
from advdpnp.experiments import Experiment
from advdpnp.explaining import Explainer, Explanations, check_folder, write_explanations
from advdpnp.external.external_model import single_precision
from advdpnp.losses import class_logits, is_one_output
from advdpnp.mode import settle
from advdpnp.models.classifier import Classifier
from advdpnp.ood_results import OodResult, stored_ood
from advdpnp.predicting import Failure, Predictor, TrainingSet
from advdpnp.progress import duration
from advdpnp.ranges import Natural, check
from advdpnp.runs import Run
from advdpnp.threat import Norm

# Of a model without a run.
_USUAL = {"linf": 8 / 255}
# Images on which gradients are tried.
_FEW = 16
# A search that takes longer than so many seconds is announced.
_LONG = 10
# How many times the usual radius is looked up to.
_REACH = 4


@as_stated()
def explain(
    source: Path | str | nn.Module | ExportedProgram,
    images: Path | str | Sequence[Path | str] | Tensor | NDArray[Any],
    *,
    label: Label | Sequence[Label] | Tensor | None = None,
    attack: Attack | str | None = None,
    norm: Norm | None = None,
    target: Label | None = None,
    neighbors: int = 5,
    checkpoint: str | None = None,
    invert: bool = False,
    class_names: Sequence[str] = (),
    out: Path | str | None = None,
    device: str | None = None,
    data_root: Path | None = None,
    callback: Silent | None = None,
) -> Explanations:
    """Why a network says what it says of an image, how little changes that, and how like its training data it is.

    For each image: what `advdpnp.predict` tells; the nearest adversarial image that an attack finds, whose distance is
    an upper bound of the smallest eps; and the scores of `advdpnp.evaluation.scores.scores_of`, with their places among
    those of the test images where `advdpnp ood` has stored them. What is missing, and why, is in the answer's `notes`.

    Args:
        source: a run's folder; or a model in eval mode, or torch.export program, images in [0, 1] -> logits, which has
            no training images.
        images: at most 64: files, folders, and "test:17" or "test:0-3,17" for images of the run's own test set; or
            images in memory, as `advdpnp.predict` takes them.
        label: true class of images that are not of the test set, by name or number: one for all, or one for each. An
            image without one is led away from the class that is predicted.
        attack: what looks for adversarial images: an attack, or a text such as "cw-l2" or "min-eps:steps=20". None for
            `MinEps` up to 4 times the data set's usual radius, as the suite min-eps has it.
        norm: "linf", "l2" or "l1", of an attack that says none; None for linf.
        target: the class that images shall become, by name or number; None for any other one.
        neighbors: how many training images are listed, for the winner's center and for the image; 0 for none.
        checkpoint: "last" or "best", of a run; None for last, and says so where best is of another epoch.
        invert: of files, make dark light and light dark.
        class_names: of a model; by default its classes are called by number.
        out: folder for a page, a picture, the adversarial images and JSON, see
            `advdpnp.explaining.write_explanations`; None writes nothing.
        device: torch device, of a run; a model and its images stay where they are.
        data_root: folder of the data files.
        callback: called as training images are embedded and adversarial ones looked for.
    Raises:
        ValueError: what is out of range or does not fit, or no image that can be read.
        FileNotFoundError: no such run, checkpoint or path. Nothing is written then.
    """
    check("neighbors", neighbors, Natural)
    if out is not None:
        check_folder(Path(out))
    callback = callback or Silent()
    wanted = _Wanted(attack, norm, target)
    if isinstance(images, np.ndarray):
        images = from_array(images)
    if isinstance(source, ExportedProgram):
        source = settle(source.module())
    if isinstance(source, nn.Module):
        subject = _of_model(source, images, label, tuple(class_names), invert)
    else:
        subject = _of_run(
            Run(Path(source)), images, label, checkpoint, invert, resolve_device(device), data_root, callback
        )
    found = _explained(subject, wanted, neighbors, data_root, callback)
    return found if out is None else write_explanations(found, Path(out))


@dataclass(frozen=True)
class _Wanted:
    """The attack that is asked for."""

    attack: Attack | str | None
    norm: Norm | None
    target: Label | None

    def on(self, subject: "_Subject") -> Attack:
        """The attack on a network's images, with its radius and its aim."""
        pixels = subject.images.x[0].numel()
        linf = subject.radii["linf"]
        usual = {"linf": linf, "l2": l2_radius(linf, pixels), "l1": l1_radius(linf, pixels)} | subject.radii
        if self.attack is None:
            suite = suite_of("min-eps", Radii(usual, subject.data, pixels), self.norm)
        else:
            reach = _REACH if _seeks_nearest(self.attack) else 1
            radii = {name: min(reach * eps, widest(pixels, name)) for name, eps in usual.items()}
            suite = suite_of([self.attack], Radii(radii, subject.data, pixels), self.norm)
        attack = (suite if subject.trained is None else adapted(suite, subject.trained.done.defense)).attacks[0]
        check_target(attack, len(subject.class_names))
        return attack if self.target is None else self._aimed(attack, subject.class_names)

    def _aimed(self, attack: Any, class_names: Sequence[str]) -> Attack:
        index = class_index(self.target, class_names, "target")
        if not hasattr(attack, "target"):
            raise ValueError(
                f"{attack.name} aims at no class: leave target out, or choose an attack that has one, as pgd"
            )
        if attack.target not in (None, index):
            raise ValueError(f"{attack.name} aims at class {attack.target} already: leave target out there, or here")
        aimed: Attack = replace(attack, target=index)
        return aimed


def _seeks_nearest(attack: Attack | str) -> bool:
    """Whether what an attack does not break within a radius may be broken beyond, and it would find that."""
    if isinstance(attack, str):
        return bool(getattr(ATTACKS.get(attack.partition(":")[0]), "seeks_nearest", False))
    return any(each.seeks_nearest for each in stepwise_attacks(attack))


@dataclass(frozen=True, eq=False)
class _Subject:
    """The network, the images, and what is known of both."""

    source: str
    model: nn.Module
    images: ChosenImages
    class_names: tuple[str, ...]
    radii: dict[str, float]
    levels: int
    notes: list[str]
    trained: "_Trained | None" = None

    @property
    def data(self) -> str:
        """Name of the data set; "" for a model without a run."""
        return "" if self.trained is None else self.trained.done.data.name


@dataclass(frozen=True, eq=False)
class _Trained:
    """The network of a run."""

    run: Run
    done: Experiment
    checkpoint: str
    model: Classifier

    def training_set(self, data_root: Path | None, callback: Silent) -> tuple[TrainingSet | None, list[str]]:
        """Its training images, and notes on what is missing."""
        return training_set(self.run, self.checkpoint, self.model, self.done, data_root, callback)

    def scores_of_test_images(self) -> tuple[OodResult | None, list[str]]:
        """What is stored of them under these very weights; or None, and why there is none."""
        lacking = "no place of the scores among those of the test images:"
        try:
            stored = stored_ood(self.run)
        except ValueError as error:
            return None, [f"{lacking} {error}"]
        if stored is None:
            return None, [f"{lacking} none are stored, which advdpnp ood measures"]
        weights = self.run.weights_sha256(self.checkpoint)
        if (stored.weights, stored.data) != (weights, self.done.data.name):
            return None, [f"{lacking} those that are stored are of other weights or images: run advdpnp ood again"]
        return stored, []


def _of_run(
    run: Run,
    images: Any,
    label: Any,
    checkpoint: str | None,
    invert: bool,
    on: torch.device,
    data_root: Path | None,
    callback: Silent,
) -> _Subject:
    done = stored_experiment(run)
    wanted = [images] if isinstance(images, Path | str) else images
    chosen = chosen_images(wanted, run, done, label, invert, data_root, callback.on_note)
    checkpoint = chosen_checkpoint(run, checkpoint, callback.on_note)
    model, _ = load_checkpoint(run, checkpoint, on)
    return _Subject(
        source=str(run.folder),
        model=model,
        images=replace(chosen, x=chosen.x.to(on)),
        class_names=done.data.class_names,
        radii=done.data.radii,
        levels=in_bytes(done.data).levels,
        notes=[],
        trained=_Trained(run, done, checkpoint, model),
    )


def _of_model(model: nn.Module, images: Any, label: Any, class_names: tuple[str, ...], invert: bool) -> _Subject:
    inputs = inputs_of_model(images, invert)
    check_mode(model)
    check_count(len(inputs.entries))
    x, _ = inputs.images.first(_FEW)
    ready, notes = single_precision(out_of_inference(model), x)
    with torch.no_grad():
        logits = logits_alone(ready(x.clone()))
    if is_one_output(logits, len(x)):
        ready, logits = TwoLogits(ready), class_logits(logits, len(x))
    names = class_names or tuple(map(str, range(logits.shape[-1])))
    chosen = given_images(inputs, label, names)
    return _Subject(type(model).__name__, ready, chosen, names, _USUAL, BYTES, notes)


def _explained(
    subject: _Subject, wanted: _Wanted, neighbors: int, data_root: Path | None, callback: Silent
) -> Explanations:
    attack, model, x = wanted.on(subject), subject.model, subject.images.x
    centers, notes = centers_or_note(model)
    notes += _tried(model, x, attack, callback)
    training = stored = None
    if subject.trained is not None:
        stored, missing = subject.trained.scores_of_test_images()
        notes += missing
    if subject.trained is not None and neighbors:
        training, missing = subject.trained.training_set(data_root, callback)
        notes += missing
    predictor = Predictor(
        model, subject.class_names, centers, training, len(subject.class_names), neighbors, subject.levels
    )
    explainer = Explainer(predictor, attack, stored, callback)
    answers = iter(explainer(subject.images.names, x, subject.images.labels))
    return Explanations(
        source=subject.source,
        checkpoint=None if subject.trained is None else subject.trained.checkpoint,
        data=subject.data,
        prototypes_are=None if centers is None else centers.kind,
        attack=record(attack),
        seeks_nearest=_seeks_nearest(attack),
        largest_eps=attack.eps,
        usual_eps=subject.radii.get(attack.norm) if subject.data else None,
        images=tuple(entry if isinstance(entry, Failure) else next(answers) for entry in subject.images.entries),
        notes=(*subject.notes, *notes),
        levels=subject.levels,
    )


def _tried(model: nn.Module, x: Tensor, attack: Attack, callback: Silent) -> list[str]:
    """Warnings about the gradients of some of the images, and a word to the callback on a search that takes long."""
    few = x[:_FEW]
    with torch.no_grad():
        y = logits_alone(model(few.clone())).argmax(dim=1)
    found = gradient_warnings(model, few, y)
    probe = time_gradient(model_to_attack(model), Images(few, y, 1), len(few))
    seconds = forecast(probe, [(attack, len(x))])
    if seconds > _LONG:
        callback.on_note(f"the search for adversarial images takes at most about {duration(seconds)}")
    return found
