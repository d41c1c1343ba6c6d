"""Every number and every word that a dataclass takes is declared, and what is not declared is refused."""

import dataclasses
import importlib
import math
import pkgutil
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

import advdpnp
from advdpnp.api.protocol import Radii
from advdpnp.api.stored_evaluation import EvaluationOptions
from advdpnp.attacks import ATTACKS, Suite
from advdpnp.attacks.l1_variants import SparseL1
from advdpnp.attacks.projected_ascent import Budget
from advdpnp.data import SPECS, Augmentation, DataSpec, FolderSpec, GivenSpec, Images
from advdpnp.data.download.fetch import Patience
from advdpnp.data.outside import OutsideImages, OutsideNoise
from advdpnp.defenses import DEFENSES, Batch
from advdpnp.evaluation import Evaluation
from advdpnp.experiments import Initial, experiment
from advdpnp.external import ExternalModel
from advdpnp.noise import AheadNoise, IndexNoise
from advdpnp.predicting.predictor import Predictor
from advdpnp.ranges import Range
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.sweep_file import Group, SuiteEntry
from advdpnp.threat import ThreatModel
from advdpnp.training import Task
from advdpnp.training.recipe import Averaging, InnerAttack, RateScaling, Recipe, WeightPerturbation

INDEX = torch.arange(2)
IMAGES = Images(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), INDEX)
ATTACK = InnerAttack(eps=0.1, step_size=0.025)
RECIPE = Recipe("paper", ATTACK, Augmentation(), milestones=(0.5, 1.0))
DIGITS = {field.name: getattr(SPECS["digits"], field.name) for field in dataclasses.fields(DataSpec)}
# One of each kind that people, or configurations, fill in.
SAMPLES: list[Any] = [
    *(attack() for attack in ATTACKS.values()),
    *(defense() for defense in DEFENSES.values()),
    ThreatModel("l2", 1.0),
    SparseL1("l1", 1.0),
    Budget(ThreatModel("linf", 0.1), 2, 0.1, "none"),
    Suite("none", "", (), features=0),
    ATTACK,
    Averaging(),
    WeightPerturbation(),
    RateScaling(),
    Augmentation(),
    RECIPE,
    experiment("digits/tiny/at"),
    Initial(mean=(0.5,), std=(0.5,)),
    SPECS["digits"],
    FolderSpec(**DIGITS, path="", split_seed=0, checksum=""),
    GivenSpec(**DIGITS, split_seed=0, train_checksum=""),
    IMAGES,
    Patience(),
    Task(torch.nn.Identity(), DEFENSES["at"](), RECIPE, IMAGES, None, 0),  # type: ignore[arg-type]
    Batch(torch.rand(2, 1, 8, 8), INDEX, INDEX, 0, 0, 0),
    IndexNoise(0, INDEX),
    AheadNoise(0, INDEX),
    Evaluation(Suite("none", "", (), features=None), 2, {}),
    EvaluationOptions(limit=2),
    Radii({"linf": 0.1}, "digits", 64),
    ExternalModel("torch.nn:Identity", mean=(0.5,), std=(0.5,)),
    Predictor(torch.nn.Identity(), (), None, None, 1, 0),
    OutsideImages("photos", Images(torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64), 1), (1, 8, 8)),
    SuiteEntry("clean", seeds=(0,)),
    Group("digits", "tiny", ("at",)),
    Means(),
    OutsideNoise("uniform-noise", (1, 8, 8), 4, torch.device("cpu")),
]
# What nobody fills in: results, what is read from files, and what other code makes from fields that are checked.
MADE = {
    "advdpnp.api.explained_images",
    "advdpnp.api.explaining",
    "advdpnp.api.illustration",
    "advdpnp.api.out_of_distribution",
    "advdpnp.api.outside_sets",
    "advdpnp.api.run_images",
    "advdpnp.api.test_sets",
    "advdpnp.api.training",
    "advdpnp.attacks.apgd_step",
    "advdpnp.audit_files",
    "advdpnp.auditing.comparisons",
    "advdpnp.auditing.subject",
    "advdpnp.attacks.square_moves",
    "advdpnp.launch",
    "advdpnp.training.distributed",
    "advdpnp.bench.engines",
    "advdpnp.bench.timing",
    "advdpnp.cli.command",
    "advdpnp.data.corruptions.constants",
    "advdpnp.data.folder.cache",
    "advdpnp.data.folder.known",
    "advdpnp.data.folder.listing",
    "advdpnp.data.download.sources",
    "advdpnp.evaluation.batching",
    "advdpnp.evaluation.pictures",
    "advdpnp.evaluation.single_pass",
    "advdpnp.explaining.explanation",
    "advdpnp.explaining.lines",
    "advdpnp.explaining.page",
    "advdpnp.explaining.search",
    "advdpnp.exporting.agreement",
    "advdpnp.exporting.paper_reference",
    "advdpnp.exporting.exported_model",
    "advdpnp.loggers.logger",
    "advdpnp.metrics.detection",
    "advdpnp.models.libraries.base",
    "advdpnp.external.conversion",
    "advdpnp.external.stored_tensors",
    "advdpnp.external.weights",
    "advdpnp.fence",
    "advdpnp.illustrations",
    "advdpnp.ood_results",
    "advdpnp.predicting.predictions",
    "advdpnp.report.arrays",
    "advdpnp.report.reproduction",
    "advdpnp.report.reproduction.standings",
    "advdpnp.report.site",
    "advdpnp.report.paper_values",
    "advdpnp.report.ranking",
    "advdpnp.report.read",
    "advdpnp.report.similarity",
    "advdpnp.results",
    "advdpnp.run_status",
    "advdpnp.report.sections.section",
    "advdpnp.report.tables",
    "advdpnp.sweeping.drive",
    "advdpnp.sweeping.tasks",
    "advdpnp.sweeping.work",
}


def kinds(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def parts(kind: Any) -> Iterator[Any]:
    """A type and what it is made of, but not what it is annotated with."""
    yield kind
    if get_origin(kind) not in (Annotated, Literal):
        for part in get_args(kind):
            yield from parts(part)


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(advdpnp.__path__, "advdpnp."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def test_there_is_a_sample_of_every_dataclass_with_numbers() -> None:
    sampled = {type(sample) for sample in SAMPLES}
    sampled |= {base for cls in sampled for base in cls.__mro__}
    missing = [
        cls.__qualname__
        for module in modules()
        if module.__name__ not in MADE
        for cls in vars(module).values()
        if isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__module__ == module.__name__
        if cls not in sampled and any(part in (int, float) for kind in kinds(cls).values() for part in parts(kind))
    ]
    # A range is no setting.
    assert missing == []


FIELDS = [(sample, name, kind) for sample in SAMPLES for name, kind in kinds(type(sample)).items()]
IDS = [f"{type(sample).__name__}.{name}" for sample, name, _ in FIELDS]


def is_mapping(kind: Any) -> bool:
    return any(get_origin(part) in (dict, Mapping) for part in parts(kind))


@pytest.mark.parametrize("sample, name, kind", FIELDS, ids=IDS)
def test_no_number_is_without_a_range(sample: Any, name: str, kind: Any) -> None:
    assert is_mapping(kind) or not {int, float} & {part for part in parts(kind) if isinstance(part, type)}


def outside(allowed: Range, whole: bool) -> list[Any]:
    """Values just outside of each end, and what is no number of the kind."""
    low, high = allowed.ends
    found: list[Any] = [math.nan, math.inf, -math.inf, True, "1", *([0.5] if whole else [])]
    for end, is_open, away in ((low, allowed.interval[0] == "(", -1), (high, allowed.interval[-1] == ")", 1)):
        if math.isfinite(end):
            beyond = end if is_open else end + away if whole else math.nextafter(end, away * math.inf)
            found.append(int(beyond) if whole else beyond)
    return found


NUMBERS = [
    pytest.param(sample, name, kind, part, id=f"{type(sample).__name__}.{name}")
    for sample, name, kind in FIELDS
    for part in parts(kind)
    if get_origin(part) is Annotated
]


@pytest.mark.parametrize("sample, name, kind, part", NUMBERS)
def test_a_number_outside_of_its_range_is_refused_by_name(sample: Any, name: str, kind: Any, part: Any) -> None:
    base, allowed = get_args(part)
    for wrong in outside(allowed, base is int):
        value = wrong
        if get_origin(kind) is tuple:
            value = tuple(wrong for _ in getattr(sample, name))
        with pytest.raises(ValueError, match=rf"\b{name} must be ") as refused:
            dataclasses.replace(sample, **{name: value})
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "sample, name, kind", [row for row in FIELDS if get_origin(row[2]) is Literal], ids=lambda value: str(value)[:20]
)
def test_an_unknown_word_is_refused_with_the_known_ones(sample: Any, name: str, kind: Any) -> None:
    words, known = get_args(kind), re.escape(", ".join(get_args(kind)))
    for wrong in (words[0].upper() + "?", words[0].capitalize(), "", None):
        with pytest.raises(ValueError, match=rf"must be one of {known}|attacks can search in {known}"):
            dataclasses.replace(sample, **{name: wrong})


SWITCHES = [(sample, name) for sample, name, kind in FIELDS if kind is bool]


@pytest.mark.parametrize("sample, name", SWITCHES, ids=[f"{type(s).__name__}.{n}" for s, n in SWITCHES])
def test_a_switch_is_true_or_false_and_no_text(sample: Any, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be true or false; got 'false'"):
        dataclasses.replace(sample, **{name: "false"})


def test_configurations_have_no_numbers_made_of_truth_or_infinity() -> None:
    for changes, says in (
        ({"recipe": {"epochs": True}}, r"recipe\.epochs must be a whole number; got True"),
        ({"recipe": {"epochs": math.inf}}, r"recipe\.epochs must be a whole number; got inf"),
        ({"recipe": {"epochs": 10**400}}, r"recipe\.epochs must be a whole number; got 1000+\.\.\.$"),
        ({"tag": ["a"]}, r"tag must be a text; got \['a'\]"),
        ({"backbone": None}, r"backbone must be a text; got None"),
        ({"recipe": {"lr": True}}, r"recipe\.lr must be a number"),
        ({"recipe": {"lr": math.nan}}, r"recipe\.lr must be finite, at least 0; got nan"),
        ({"recipe": {"lr": "1e400"}}, r"recipe\.lr must be a number"),
        ({"recipe": {"momentum": 2}}, r"^recipe\.momentum must be in \[0, 1\); got 2\.0$"),
        ({"recipe": {"attack": {"step_size": -0.01}}}, r"recipe\.attack\.step_size must be above 0; got -0\.01"),
        ({"recipe": {"attack": {"step_size": 2}}}, r"recipe\.attack\.step_size must be .* Did you mean 2 / 255\?"),
        ({"recipe": {"attack": {"norm": "l2", "eps": 128}}}, r"l2 recipe\.attack\.eps must be at most 8\.0"),
        ({"recipe": {"holdout": 1437}}, r"recipe\.holdout must leave images to train on"),
        ({"defense": {"beta": -6}}, r"^defense\.beta must be at least 0; got -6\.0$"),
    ):
        with pytest.raises(ValueError, match=says):
            experiment("digits/tiny/trades", changes=changes)
