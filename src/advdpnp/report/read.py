"""Stored results of a run, read from its folder and checked as they are read."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from advdpnp.report.names import METHODS, NORMS, SEARCHES, attack_label, method_name
from advdpnp.report.schema import check_config, check_evaluation

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 1

MEAN_SEPARATION, PAIRWISE = "mean_separation_degrees", "mean_pairwise_angle_degrees"

# Settings of attacks that results name where they depart from the defaults, in words.
SETTINGS = {
    "kappa": "κ = {:g}",
    "targets": "{:g} targets",
    "rho": "ρ = {:g}",
    "multi_eps": "radii 3ε, 2ε and ε",
    "alpha_max": "α at most {:g}",
    "eta": "η = {:g}",
    "beta": "β = {:g}",
    "p_init": "p = {:g}",
}

T = TypeVar("T")


@dataclass(frozen=True)
class AttackKey:
    """What makes two stored attacks the same column of a table."""

    name: str
    norm: str
    eps: str
    steps: int | None
    step_size: str | None
    restarts: int
    random_start: bool
    settings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and number of steps, such as PGD-40."""
        return attack_label(self.name, self.steps)

    @property
    def budget(self) -> str:
        """Norm and radius, such as ℓ∞ 8/255."""
        return f"{self.norm_name} {self.eps}"

    @property
    def norm_name(self) -> str:
        return NORMS.get(self.norm, self.norm)

    @property
    def details(self) -> str:
        """The whole protocol in words."""
        if self.name in SEARCHES:
            return f"{self.label}: {self.norm_name}, ε = {self.eps}, {SEARCHES[self.name]}"
        step = f", step {self.step_size}" if self.step_size and (self.steps or 0) > 1 else ""
        restarts = "1 restart" if self.restarts == 1 else f"{self.restarts} restarts"
        start = f"random start, {restarts}" if self.random_start else "starts at the image"
        settings = "".join(f", {setting}" for setting in self.settings)
        return f"{self.label}: {self.norm_name}, ε = {self.eps}{step}, {start}{settings}"


@dataclass(frozen=True)
class Accuracy:
    """A fraction of the images in [0, 1] and its 95 % Wilson interval, which reaches up to the unevaluated images."""

    value: float
    low: float
    high: float
    unevaluated: int = 0


@dataclass(frozen=True)
class Suite:
    """One eval/<suite>.json: what was attacked, and what was left of the accuracy."""

    name: str
    data: str
    n: int
    indices: str
    checkpoint: str
    epoch: int | None
    precision: str
    chunk: int
    seconds: float
    environment: dict[str, Any]
    clean: Accuracy
    attacks: dict[AttackKey, Accuracy]
    worst_case: Accuracy
    geometry: dict[str, Any] | None
    warnings: list[str]
    # What searches were made in; verdicts are always those of `precision`.
    search_precision: str = "fp32"
    # SHA-256 of the weights; "" where it was not recorded.
    weights: str = ""
    # What the attacks say of themselves, such as fewer targets for want of classes.
    notes: list[str] = field(default_factory=list)
    # Count, mean and spread over seeds of the attacks' noise; None for one seed.
    seeds: dict[str, Any] | None = None
    # Where it is stored.
    path: Path = Path()


@dataclass(frozen=True)
class Samples:
    """Some images of the test set: clean and adversarial (M, channels, H, W) in [0, 1], labels and predictions (M,)."""

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    clean_predictions: np.ndarray
    adversarial_predictions: np.ndarray
    class_names: list[str]
    attack: str


@dataclass(frozen=True)
class Embedding:
    """2-D features, clean and adversarial (N, 2), labels (N,), and class centers (C, 2)."""

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    centers: np.ndarray
    class_names: list[str]
    attack: str


Arrays = TypeVar("Arrays", Samples, Embedding)


@dataclass(frozen=True)
class Run:
    """All that a run folder holds; None or empty where something was not measured."""

    folder: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    epochs: list[dict[str, Any]]
    suites: list[Suite]
    curve: Suite | None
    samples: Samples | None
    embedding: Embedding | None

    @property
    def data(self) -> str:
        return _data_name(self.config)

    @property
    def foreign(self) -> dict[str, Any] | None:
        """Where a network from elsewhere comes from; None for a classifier of ours."""
        return self.config.get("foreign")

    @property
    def backbone(self) -> str:
        return str(self.config["backbone"])

    @property
    def defense(self) -> str:
        return "foreign" if self.foreign else str(self.config["defense"]["name"])

    @property
    def tag(self) -> str:
        return str(self.config["tag"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def recipe(self) -> str:
        return str(self.config["recipe"]["name"])

    @property
    def trained_eps(self) -> float | None:
        """Radius of the attack of training, where it is known."""
        return None if self.foreign else float(self.config["recipe"]["attack"]["eps"])

    @property
    def method(self) -> str:
        """The method as people call it, or the name of a network from elsewhere, with the run's tag."""
        if self.foreign:
            return self.backbone + (f" +{self.tag}" if self.tag else "")
        variant = f"{self.defense}-{self.tag}"
        return METHODS.get(variant) or method_name(self.defense) + (f" +{self.tag}" if self.tag else "")

    @property
    def name(self) -> str:
        """Method and seed."""
        return self.method if self.foreign else f"{self.method}, seed {self.seed}"

    @property
    def place(self) -> str:
        """Data and backbone, as in the name of an experiment: cifar10/resnet18."""
        return f"{self.data}/{self.backbone}"

    @property
    def order(self) -> tuple[Any, ...]:
        names = list(METHODS)
        place = names.index(self.defense) if self.defense in METHODS else len(names)
        return (self.data, self.backbone, place, self.defense, self.tag, self.seed)


def _data_name(config: dict[str, Any]) -> str:
    stored = config["data"]
    return str(stored["name"] if isinstance(stored, dict) else stored)


def radius(eps: str) -> float:
    """A budget as result files have it, "0.1" or "8/255", as a number."""
    numerator, _, denominator = eps.partition("/")
    return float(Fraction(numerator) / Fraction(denominator or "1"))


def _checked(path: Path, cure: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, EOFError, zipfile.BadZipFile) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else f"{error}"
        raise ValueError(f"{path} is damaged or not a result of advdpnp ({problem}): {cure}") from error


def _accuracy(value: float, interval: list[float], unevaluated: int = 0) -> Accuracy:
    low, high = interval
    return Accuracy(float(value), float(low), float(high), int(unevaluated))


def _attack(record: dict[str, Any]) -> tuple[AttackKey, Accuracy]:
    radius(record["eps"])
    names = ("name", "norm", "eps", "steps", "step_size", "restarts", "random_start")
    settings = tuple(words.format(record[name]) for name, words in SETTINGS.items() if name in record)
    key = AttackKey(**{name: record[name] for name in names}, settings=settings)
    return key, _accuracy(record["robust_accuracy"], record["interval95"], record.get("unevaluated", 0))


def _notes(attacks: dict[AttackKey, Accuracy], stored: dict[str, Any]) -> list[str]:
    """What attacks say of themselves, and how many images they left without a verdict."""
    said = [text for record in stored["attacks"] for text in record.get("notes", ())]
    left = {key: accuracy.unevaluated for key, accuracy in attacks.items() if accuracy.unevaluated}
    return said + [
        f"{key.label} {key.budget}: {count} of {stored['n']} images unevaluated, without a finite gradient to follow; "
        "they do not count as robust, and the interval reaches up to them"
        for key, count in left.items()
    ]


def _known_schema(stored: dict[str, Any]) -> dict[str, Any]:
    if stored["schema"] != SCHEMA:
        raise ValueError(f"schema {stored['schema']}, this version reads {SCHEMA}")
    return stored


def _geometry(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """Geometry in which MeanSep is that of Eq. 11: earlier versions stored the mean over all pairs in its place."""
    if stored is None or PAIRWISE in stored or MEAN_SEPARATION not in stored:
        return stored
    return {PAIRWISE if name == MEAN_SEPARATION else name: value for name, value in stored.items()}


def _suite(path: Path) -> Suite:
    def read() -> Suite:
        stored = _known_schema(json.loads(path.read_text()))
        check_evaluation(stored)
        attacks = dict(map(_attack, stored["attacks"]))
        return Suite(
            name=stored["suite"],
            data=stored["data"],
            n=stored["n"],
            indices=stored["indices"],
            checkpoint=stored["checkpoint"],
            epoch=stored.get("epoch"),
            precision=stored["precision"],
            chunk=stored["chunk"],
            seconds=sum(record["seconds"] for record in stored["attacks"]),
            environment=stored.get("environment", {}),
            clean=_accuracy(stored["clean_accuracy"], stored["clean_interval95"]),
            attacks=attacks,
            worst_case=_accuracy(
                stored["worst_case_accuracy"],
                stored["worst_case_interval95"],
                stored.get("worst_case_unevaluated", 0),
            ),
            geometry=_geometry(stored.get("geometry")),
            warnings=list(stored.get("warnings", [])),
            search_precision=stored.get("search_precision", "fp32"),
            weights=stored.get("weights", ""),
            notes=_notes(attacks, stored),
            seeds=stored.get("seeds"),
            path=path,
        )

    return _checked(path, "evaluate the run again", read)


def _config(path: Path) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        config = _known_schema(json.loads(path.read_text()))
        check_config(config)
        if "foreign" in config:
            config["foreign"]["model"], config["foreign"]["weights"], config["foreign"]["sha256"]
            return config
        config["defense"]["name"], config["recipe"]["name"], config["recipe"]["attack"]["eps"]
        return config

    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} is not a run folder: expected config.json in it; "
            "give folders such as runs/digits/tiny/adv-dpnp/seed-0"
        )
    return _checked(path, "train the run again", read)


def _environment(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    return _checked(path, "delete it and train with --resume", lambda: dict(json.loads(path.read_text())))


def _epochs(path: Path) -> list[dict[str, Any]]:
    def read() -> list[dict[str, Any]]:
        text = path.read_text()
        # A kill during training may cut the last line short; only lines that end were written whole.
        epochs = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        for epoch in epochs:
            epoch["epoch"], epoch["seconds"], epoch["loss"]["total"], epoch["holdout"]
        return epochs

    return _checked(path, "resume the training", read) if path.is_file() else []


def _arrays(path: Path, kind: type[Arrays]) -> Arrays | None:
    import numpy as np

    def read() -> Arrays:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names, attack = [str(name) for name in stored["class_names"]], str(stored["attack"])
            arrays = {
                field.name: stored[field.name] for field in fields(kind) if field.name not in ("class_names", "attack")
            }
            return kind(**arrays, class_names=names, attack=attack)

    return _checked(path, "evaluate the run again", read) if path.is_file() else None


def _evaluations(folder: Path, data: str) -> list[Suite]:
    """The finished evaluations in a folder, in the order of their names, each suite once for each test set."""
    found: dict[tuple[str, str], Suite] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith(".partial.json"):
            continue
        suite = _suite(path)
        name = suite.name + ("" if suite.data == data else "@" + suite.data.replace("/", "-"))
        first = found.get((suite.name, suite.data))
        kept = suite if first is None or path.stem == name else first
        found[suite.name, suite.data] = kept
        if first is not None:
            other = first if kept is suite else suite
            # A copy would count as one more seed.
            warnings.warn(f"{other.path} is left out: suite {name} is read from {kept.path.name}", stacklevel=2)
    return list(found.values())


def read_run(folder: Path) -> Run:
    """Everything stored in a run folder.

    Args:
        folder: runs/<data>/<backbone>/<defense>[+tag]/seed-<n>.
    Returns:
        The run; what was not measured is None or empty.
    Raises:
        FileNotFoundError: the folder has no config.json.
        ValueError: a file is damaged, lacks a field, or has another schema.
    """
    config, evaluations = _config(folder / "config.json"), folder / "eval"
    data = _data_name(config)
    suites = _evaluations(evaluations, data)
    # Of the run's own test set; on another one it is a table.
    curve = next((suite for suite in suites if (suite.name, suite.data) == ("curve", data)), None)
    return Run(
        folder=folder,
        config=config,
        environment=_environment(folder / "environment.json"),
        epochs=_epochs(folder / "train.jsonl"),
        suites=[suite for suite in suites if suite is not curve],
        curve=curve,
        samples=_arrays(evaluations / "samples.npz", Samples),
        embedding=_arrays(evaluations / "embedding.npz", Embedding),
    )


def read_runs(folders: list[Path]) -> list[Run]:
    """Runs in the order of tables: by data, backbone, method, tag and seed.

    Raises:
        FileNotFoundError, ValueError: as `read_run`; ValueError also if there are no folders.
    """
    if not folders:
        raise ValueError("a report needs at least one run folder; got none: train and evaluate a run first")
    runs = sorted(map(read_run, folders), key=lambda run: run.order)
    for first, second in pairwise(runs):
        if first.order == second.order:
            raise ValueError(
                f"{first.folder} and {second.folder} are the same method, tag and seed: give one of them, "
                "or train one again with --name TAG"
            )
    return runs
