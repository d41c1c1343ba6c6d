"""An experiment: data, backbone, defense, recipe and seed, which together determine the weights of a run."""

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advdpnp.data import DataSpec, FolderSpec, GivenSpec
from advdpnp.data import spec as data_spec
from advdpnp.defenses import Defense
from advdpnp.dtype import float32_default
from advdpnp.experiments import config
from advdpnp.experiments.defaults import defense_for, fine_tuning, recipe_for
from advdpnp.experiments.initial import UNTRAINED, Initial, completed
from advdpnp.experiments.names import split_name
from advdpnp.experiments.official import official_changes
from advdpnp.experiments.plugins import find_defense
from advdpnp.folder_names import check_name, folder_name, folders
from advdpnp.models import build_backbone, check_backbone, is_adapted
from advdpnp.models.classifier import Classifier
from advdpnp.models.libraries import is_library_name, network_by_name
from advdpnp.ranges import Integer, check_fields
from advdpnp.threat import check_fits
from advdpnp.training.recipe import Recipe, WeightPerturbation

SCHEMA = 1


@dataclass(frozen=True)
class Experiment:
    """A training run, described completely.

    Args:
        data: facts about the data set.
        backbone: name of the network.
        defense: the method.
        recipe: optimization and protocol.
        seed: of initialization, order, augmentation and attack noise; 64 bits.
        tag: part of the folder's name, for variants of one defense; "" for none.
        initial: first weights and normalization of a backbone that is not ours; None for one of ours.
    Raises:
        ValueError: an unknown backbone, a radius or numbers of images that do not fit the data, or an unfit tag.
    """

    data: DataSpec
    backbone: str
    defense: Defense[Any]
    recipe: Recipe
    seed: Integer = 0
    tag: str = ""
    initial: Initial | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_backbone(self.backbone)
        if is_adapted(self.backbone) != (self.initial is not None):
            raise ValueError(
                "first weights and a normalization (--weights, --untrained, --mean, --std) belong to a network such as "
                f"timm:NAME, and to none of ours; got {'some' if self.initial else 'none'} for {self.backbone}"
            )
        if self.data.train_size == 0:
            raise ValueError(f"{self.data.name} has test images only: train on another data set, and evaluate on it")
        if self.tag:
            check_name("--name", self.tag)
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"--seed must be a whole number of 64 bits; got {self.seed}")
        check_fits(self.recipe.attack.norm, self.recipe.attack.eps, self.data.image_shape, "recipe.attack.eps")
        validation = self.data.validation_size
        if validation and self.recipe.holdout > validation:
            raise ValueError(
                f"recipe.holdout must be at most {validation}, the validation images of {self.data.name}; got "
                f"{self.recipe.holdout}"
            )
        available = self.data.train_size - max(self.recipe.holdout, validation)
        if available < 1:
            raise ValueError(
                f"recipe.holdout must leave images to train on; got {self.recipe.holdout} of the "
                f"{self.data.train_size} of {self.data.name}"
            )
        if self.recipe.train_images > available:
            raise ValueError(
                f"recipe.train_images is {self.recipe.train_images}, but {self.data.name} has {available} training "
                f"images outside the holdout of {self.recipe.holdout}; 0 takes all"
            )

    def folder(self, out: Path) -> Path:
        """runs/<data>/<backbone>/<defense>[+tag]/seed-<n>."""
        name = self.defense.name + (f"+{self.tag}" if self.tag else "")
        return out / folders(self.data.name) / folder_name(self.backbone) / name / f"seed-{self.seed}"

    @property
    def needs(self) -> "Experiment | None":
        """The experiment whose trained network the defense needs: the same but for the method, in a folder of its own.

        It is trained without weight perturbation, which would make it an adversarially trained network, and with the
        changes that the defense has for it.
        """
        changes = self.defense.helper_changes()
        if self.defense.needs is None or changes is None:
            return None
        helper, _ = defense_for(self.data.name, self.defense.needs)
        # No attack is made, so its start is that of whatever method asks; one for all lets them share a helper.
        attack = self.recipe.attack if changes else replace(self.recipe.attack, start="normal")
        recipe = replace(self.recipe, attack=attack, weight_perturbation=WeightPerturbation())
        # One with changes is another run than that of the methods whose helper has none.
        tag = "-".join(part for part in (self.defense.name if changes else "", "helper", self.tag) if part)
        tree = {"defense": config.encode(helper), "recipe": config.encode(recipe)}
        config.merge(tree, changes)
        helper = config.decode(type(helper), tree["defense"], "defense")
        recipe = config.decode(Recipe, tree["recipe"], "recipe")
        return Experiment(self.data, self.backbone, helper, recipe, self.seed, tag, self.initial)

    def config(self) -> dict[str, Any]:
        """JSON values that `from_config` reads back."""
        return {
            "schema": SCHEMA,
            "data": _stored(self.data),
            "backbone": self.backbone,
            **({"initial": config.encode(self.initial)} if self.initial else {}),
            "defense": {"name": self.defense.name, **config.encode(self.defense)},
            "recipe": config.encode(self.recipe),
            "seed": self.seed,
            "tag": self.tag,
            # A report knows no defense by its class.
            **({"title": self.defense.title} if self.defense.title else {}),
        }

    def build(self) -> Classifier:
        """The untrained network; initialization is a function of the seed."""
        import torch

        with torch.random.fork_rng(devices=[]), float32_default():
            torch.manual_seed(self.seed)
            own = (self.initial.mean, self.initial.std, self.initial.arguments) if self.initial else ()
            backbone = build_backbone(self.backbone, self.data.image_shape, *own)
            model: Classifier = self.defense.build(backbone, self.data.num_classes)
        return model


def _stored(spec: DataSpec) -> Any:
    """A known data set by its name; others with all their facts, so that a run loads without its images."""
    if not isinstance(spec, FolderSpec | GivenSpec):
        return spec.name
    facts: dict[str, Any] = config.encode(replace(spec, images=None) if isinstance(spec, GivenSpec) else spec)
    return {name: value for name, value in facts.items() if name != "images"}


def _read_data(stored: Any) -> DataSpec:
    if isinstance(stored, str):
        return data_spec(stored)
    kind: type[DataSpec] = FolderSpec if "path" in stored else GivenSpec
    return config.decode(kind, stored, "data")


def from_config(values: Mapping[str, Any]) -> Experiment:
    """The experiment of a stored configuration.

    Raises:
        ValueError: another schema, a name or field that is unknown, missing or of another type, or the results of a
            network from elsewhere.
    """
    try:
        return _from_config(dict(values))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:  # anyone may have written it
        problem = f"no {error}" if isinstance(error, KeyError) else f"{error}"
        raise ValueError(f"the configuration is damaged ({problem}): restore it, or train the run again") from error


def _from_config(values: dict[str, Any]) -> Experiment:
    if values.pop("schema", None) != SCHEMA:
        raise ValueError(f"this configuration has another schema than {SCHEMA}: use the advdpnp version that wrote it")
    if "foreign" in values:
        raise ValueError(
            f"this folder holds results of {values['foreign']['model']}, not a classifier of ours: load that network "
            "by its own code, or evaluate it with --model and --weights"
        )
    # The helper that a run was trained with, for `advdpnp.api.train`; the run has its weights.
    values.pop("needs", None)
    # The defense itself says it.
    values.pop("title", None)
    fields = dict(values.pop("defense"))
    name = fields.pop("name")
    defense = config.decode(find_defense(name), fields, "defense")
    recipe = config.decode(Recipe, values.pop("recipe"), "recipe")
    data = _read_data(values.pop("data"))
    if "initial" in values:
        values["initial"] = config.decode(Initial, values["initial"], "initial")
    for field in ("backbone", "tag"):
        if not isinstance(values.get(field, ""), str):
            raise ValueError(f"{field} must be a text; got {values[field]!r}")
    return Experiment(data, defense=defense, recipe=recipe, **{**values, "seed": int(values["seed"])})


def experiment(
    name: str,
    recipe: str = "default",
    seed: int = 0,
    tag: str = "",
    changes: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    initial: Initial | None = None,
) -> Experiment:
    """An experiment by name, such as "cifar10/resnet18/adv-dpnp".

    Args:
        name: data/backbone/defense; data may have slashes of its own.
        recipe, seed, tag, changes, settings, initial: as in `experiment_on`.
    Raises:
        ValueError: unknown name, path or value; the nearest names are listed.
    """
    data, backbone, defense = split_name(name)
    return experiment_on(data_spec(data), backbone, defense, recipe, seed, tag, changes, settings, initial)


def experiment_on(
    data: DataSpec,
    backbone: str,
    defense: str,
    recipe: str = "default",
    seed: int = 0,
    tag: str = "",
    changes: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    initial: Initial | None = None,
) -> Experiment:
    """An experiment on any data set, such as those of `advdpnp.data.folder_spec`.

    Args:
        data: facts about the data set.
        backbone: name of the network.
        defense: name of the method, or of a variant.
        recipe: "paper", "official" or "default".
        seed: any integer.
        tag: name of this variant.
        changes: nested fields to override, as from a YAML file.
        settings: "recipe.epochs=2" and the like, applied last.
        initial: first weights and normalization of another library's network; by default, and where the normalization
            is left out, those of its pretrained weights.
    Raises:
        ValueError: unknown name, path or value; the nearest names are listed.
    """
    if is_library_name(backbone):
        backbone = network_by_name(backbone, data.name).complete
    check_backbone(backbone)
    if is_adapted(backbone):
        initial = completed(initial or Initial(), backbone, data.image_shape[0])
    method, variant = defense_for(data.name, defense)
    tag = "-".join(part for part in (variant, tag) if part)
    base = recipe_for("paper" if recipe == "official" else recipe, data, method)
    if initial is not None and initial.weights != UNTRAINED and recipe == "default":
        base = fine_tuning(base)
    values = Experiment(data, backbone, method, base, seed, tag, initial).config()
    if recipe == "official":
        for official in official_changes(method.name, data.name, backbone):
            config.merge(values, official)
        values["recipe"]["name"] = "official"
    with _named(changes):
        config.merge(values, changes or {})
    by_file = copy.deepcopy(values)
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes path=value, as in recipe.epochs=2; got {setting!r}")
        config.override(values, path.strip(), value.strip())
    try:
        wanted = from_config(values)
    except ValueError as error:
        # What a setting makes impossible is not the file's fault.
        with _named(changes if _fails_so(by_file, error) else None):
            raise
    return replace(wanted, data=wanted.data.with_images_of(data))


@contextlib.contextmanager
def _named(changes: Mapping[str, Any] | None) -> Iterator[None]:
    """Errors name the file that changes are from, if they are from one."""
    try:
        yield
    except ValueError as error:
        if not isinstance(changes, config.Changes):
            raise
        raise ValueError(f"{changes.path}: {error}") from error


def _fails_so(values: dict[str, Any], error: ValueError) -> bool:
    try:
        from_config(values)
    except ValueError as found:
        return str(found) == str(error)
    return False
