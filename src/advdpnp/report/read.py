"""What a run folder holds, as values: configuration, log, evaluations, arrays; and which results may be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from advdpnp.illustrations import EMBEDDING, PROJECTION, SAMPLES, Illustration, stored_illustration
from advdpnp.ood_results import OodResult, stored_ood
from advdpnp.report.methods import FOREIGN, METHODS, method
from advdpnp.report.similarity import Similarity, stored_similarity
from advdpnp.results import Accuracy, AttackKey, EvaluationResult, evaluations
from advdpnp.runs import Run, checked

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 1
# Suites of one attack at growing radius, which are drawn and not listed.
CURVES = ("curve", "curve-pgd", "curve-fgsm")

# What config.json must hold for a run to be named, and what it may hold.
_CONFIG: dict[str, Any] = {"data": (str, dict), "backbone": str, "seed": int, "tag": str}
_OPTIONAL = {"title": str}


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


@dataclass(frozen=True)
class ProjectedFeatures:
    """Features wider than two, clean and adversarial, in a plane: by PCA and by t-SNE (N, 2), with labels (N,).

    Args:
        pca_stars, tsne_stars: (C, 2), one point for each class among them; NaN for a class without one.
        explained: (2,), the shares of the variance that the axes of PCA have.
        stars: what these points are, in words.
    """

    pca_clean: np.ndarray
    pca_adversarial: np.ndarray
    pca_stars: np.ndarray
    tsne_clean: np.ndarray
    tsne_adversarial: np.ndarray
    tsne_stars: np.ndarray
    labels: np.ndarray
    explained: np.ndarray
    stars: str
    class_names: list[str]
    attack: str


@dataclass(frozen=True)
class RunResults:
    """All that a run folder holds; None or empty where something was not measured."""

    folder: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    epochs: list[dict[str, Any]]
    suites: list[EvaluationResult]
    curves: list[EvaluationResult]
    samples: Samples | None
    embedding: Embedding | None
    ood: OodResult | None = None
    projection: ProjectedFeatures | None = None
    illustration: Illustration | None = None
    similarity: Similarity | None = None

    @property
    def curve(self) -> EvaluationResult | None:
        """Suite `curve`."""
        return next((suite for suite in self.curves if suite.name == "curve"), None)

    @property
    def data(self) -> str:
        return data_name(self.config)

    @property
    def foreign(self) -> dict[str, Any] | None:
        """Where a network from elsewhere comes from; None for a classifier of ours."""
        return self.config.get("foreign")

    @property
    def backbone(self) -> str:
        return str(self.config["backbone"])

    @property
    def defense(self) -> str:
        return FOREIGN if self.foreign else str(self.config["defense"]["name"])

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
        """Title of the method, or the name of a network from elsewhere, with the run's tag."""
        if self.foreign:
            return self.backbone + (f" +{self.tag}" if self.tag else "")
        variant = f"{self.defense}-{self.tag}"
        if variant in METHODS:
            return METHODS[variant].title
        return method(self.defense, self.config.get("title", "")).title + (f" +{self.tag}" if self.tag else "")

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


def data_name(config: dict[str, Any]) -> str:
    """Name of the data set of a stored configuration, which has a folder of images with all its facts."""
    stored = config["data"]
    return str(stored["name"] if isinstance(stored, dict) else stored)


@dataclass(frozen=True)
class Result:
    """One suite of one run: the unit of which tables are made."""

    run: RunResults
    suite: EvaluationResult

    @property
    def group(self) -> tuple[str, str, str, int, str]:
        """Results with the same group stand in one table: the same test set, backbone, suite and images."""
        return (self.suite.data, self.run.backbone, self.suite.name, self.suite.n, self.suite.indices)

    @property
    def images(self) -> tuple[str, str, int, str]:
        """The group without the backbone, which a network from elsewhere has none of ours."""
        return (self.suite.data, self.suite.name, self.suite.n, self.suite.indices)

    @property
    def place(self) -> str:
        """Data and backbone, and the test set where it is another."""
        if self.run.foreign:
            return self.suite.data
        return self.run.place + (f" on {self.suite.data}" if self.suite.data != self.run.data else "")

    @property
    def source(self) -> str:
        """Seed, recipe and checkpoint."""
        return self.checkpoint if self.run.foreign else f"seed {self.run.seed}, {self.checkpoint}"

    @property
    def checkpoint(self) -> str:
        if self.run.foreign:
            return f"weights {self.suite.checkpoint}" if self.run.foreign["weights"] else self.suite.checkpoint
        return f"{self.run.recipe} recipe, {self.suite.checkpoint} checkpoint"

    @property
    def accuracies(self) -> dict[AttackKey | str, Accuracy]:
        """Accuracies by column."""
        ends: dict[AttackKey | str, Accuracy] = {"clean": self.suite.clean, "worst case": self.suite.worst_case}
        return ends | dict(self.suite.attacks)


def grouped(runs: list[RunResults]) -> list[list[Result]]:
    """Results that may be compared: one list per data, backbone, suite and images, each in the order of the runs."""
    return together([Result(run, suite) for run in runs for suite in run.suites])


def together(results: list[Result]) -> list[list[Result]]:
    """Results in lists that may be compared; a network from elsewhere joins every list of its images."""
    ours = sorted((result for result in results if not result.run.foreign), key=lambda result: result.group)
    foreign = sorted((result for result in results if result.run.foreign), key=lambda result: result.images)
    groups = [list(group) for _, group in groupby(ours, key=lambda result: result.group)]
    for images, members in groupby(foreign, key=lambda result: result.images):
        guests = list(members)
        hosts = [group for group in groups if group[0].images == images]
        for host in hosts:
            host += guests
        groups += [] if hosts else [guests]
    return groups


def by_method(results: Iterable[Result]) -> list[list[Result]]:
    """The seeds of each method, in order; a recipe or checkpoint of its own makes a method of its own."""
    seeds: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        seeds.setdefault((result.run.defense, result.run.method, result.checkpoint), []).append(result)
    return list(seeds.values())


Arrays = TypeVar("Arrays", Samples, Embedding, ProjectedFeatures)


def _known_schema(stored: dict[str, Any]) -> dict[str, Any]:
    if stored["schema"] != SCHEMA:
        raise ValueError(f"schema {stored['schema']}, this version reads {SCHEMA}")
    return stored


def _check_config(config: Mapping[str, Any]) -> None:
    """KeyError or TypeError unless config.json holds what names a run."""
    for name, kind in (_CONFIG | _OPTIONAL).items():
        if (name in _CONFIG or name in config) and not isinstance(config[name], kind):
            raise TypeError(f"{name} is {config[name]!r}")
    if isinstance(config["data"], dict) and not isinstance(config["data"]["name"], str):
        raise TypeError(f"name is {config['data']['name']!r}")


def _config(path: Path) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        config = _known_schema(json.loads(path.read_text()))
        _check_config(config)
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
    return checked(path, "train the run again", read)


def _environment(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    return checked(path, "delete it and train with --resume", lambda: dict(json.loads(path.read_text())))


def _epochs(run: Run) -> list[dict[str, Any]]:
    epochs = run.epochs()

    def read() -> list[dict[str, Any]]:
        for epoch in epochs:
            epoch["epoch"], epoch["seconds"], epoch["loss"]["total"], epoch["holdout"]
        return epochs

    return checked(run.log_path, "resume the training", read)


def _arrays(path: Path, kind: type[Arrays]) -> Arrays | None:
    import numpy as np

    def read() -> Arrays:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays: dict[str, Any] = {field.name: stored[field.name] for field in fields(kind)}
            texts = {name: str(array) for name, array in arrays.items() if array.ndim == 0}
            return kind(**arrays | texts | {"class_names": [str(name) for name in arrays["class_names"]]})

    return checked(path, "make it again with advdpnp illustrate", read) if path.is_file() else None


def read_run(folder: Path) -> RunResults:
    """Everything stored in a run folder.

    Args:
        folder: runs/<data>/<backbone>/<defense>[+tag]/seed-<n>.
    Returns:
        The run; what was not measured is None or empty.
    Raises:
        FileNotFoundError: the folder has no config.json.
        ValueError: a file is damaged, lacks a field, or has another schema.
    """
    config, run = _config(folder / "config.json"), Run(folder)
    data = data_name(config)
    suites = evaluations(run, data)
    # Of the run's own test set; on another one it is a table.
    curves = [suite for suite in suites if suite.name in CURVES and suite.data == data]
    return RunResults(
        folder=folder,
        config=config,
        environment=_environment(folder / "environment.json"),
        epochs=_epochs(run),
        suites=[suite for suite in suites if suite not in curves],
        curves=curves,
        samples=_arrays(run.eval_path(SAMPLES), Samples),
        embedding=_arrays(run.eval_path(EMBEDDING), Embedding),
        ood=stored_ood(run),
        projection=_arrays(run.eval_path(PROJECTION), ProjectedFeatures),
        illustration=stored_illustration(run),
        similarity=stored_similarity(run),
    )


def read_runs(folders: list[Path]) -> list[RunResults]:
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
