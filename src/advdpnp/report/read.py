"""What a run folder holds, as values: configuration, log, evaluations, arrays; and which results may be compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from advdpnp.audit_files import StoredAudit, audit_paths, read_audit
from advdpnp.checksums import one_warning
from advdpnp.illustrations import (
    EMBEDDING,
    PROJECTION,
    SAMPLES,
    Illustration,
    illustration_path,
    stored_illustration,
)
from advdpnp.ood_results import OodResult, ood_path, stored_ood
from advdpnp.report.arrays import Arrays, read_arrays
from advdpnp.report.arrays import Embedding as Embedding
from advdpnp.report.arrays import ProjectedFeatures as ProjectedFeatures
from advdpnp.report.arrays import Samples as Samples
from advdpnp.report.equal_runs import told_apart
from advdpnp.report.methods import FOREIGN, METHODS, method
from advdpnp.report.run_files import (
    Reading,
    Unread,
    is_there,
    read_config,
    read_environment,
    read_epochs,
    read_results,
)
from advdpnp.report.similarity import Similarity, stored_similarity
from advdpnp.results import Accuracy, AttackKey, EvaluationResult, without_copies
from advdpnp.runs import SIMILARITY, Run
from advdpnp.same_weights import check_weights
from advdpnp.stored_values import short_name

R = TypeVar("R", OodResult, Illustration)

# Suites of one attack at growing radius, which are drawn and not listed; the last two are those of Figure 4.
CURVES = ("curve", "curve-pgd", "curve-fgsm")


@dataclass(frozen=True)
class RunResults:
    """All that a run folder holds; None or empty where something was not measured.

    Names are short ones, on one line; `config` has them as they are.

    Args:
        unread: files that are left out.
        collection: what tells it from another run of the same method and seed: a part of its path; "" where none is.
    """

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
    unread: tuple[Unread, ...] = ()
    collection: str = ""
    audits: list[StoredAudit] = field(default_factory=list)
    similarity: Similarity | None = None

    @property
    def curve(self) -> EvaluationResult | None:
        """Suite `curve`."""
        return next((suite for suite in self.curves if suite.name == "curve"), None)

    @property
    def data(self) -> str:
        return short_name(data_name(self.config))

    @property
    def foreign(self) -> dict[str, Any] | None:
        """Where a network from elsewhere comes from; None for a classifier of ours."""
        return self.config.get("foreign")

    @property
    def backbone(self) -> str:
        return short_name(self.config["backbone"])

    @property
    def defense(self) -> str:
        return FOREIGN if self.foreign else short_name(self.config["defense"]["name"])

    @property
    def tag(self) -> str:
        return short_name(self.config["tag"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def recipe(self) -> str:
        return short_name(self.config["recipe"]["name"])

    @property
    def trained_eps(self) -> float | None:
        """Radius of the attack of training, where it is known."""
        return None if self.foreign else float(self.config["recipe"]["attack"]["eps"])

    @property
    def method(self) -> str:
        """Title of the method, or the name of a network from elsewhere, with the run's tag."""
        return self._method + (f" [{self.collection}]" if self.collection else "")

    @property
    def _method(self) -> str:
        if self.foreign:
            return self.backbone + (f" +{self.tag}" if self.tag else "")
        variant = f"{self.defense}-{self.tag}"
        if variant in METHODS:
            return METHODS[variant].title
        title = short_name(self.config.get("title", ""))
        return method(self.defense, title).title + (f" +{self.tag}" if self.tag else "")

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
        return (self.data, self.backbone, place, self.defense, self.tag, self.collection, self.seed)


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


def read_run(folder: Path) -> RunResults:
    """Everything stored in a run folder that can be read; `unread` of the run names the files that cannot.

    Args:
        folder: runs/<data>/<backbone>/<defense>[+tag]/seed-<n>.
    Returns:
        The run; what was not measured is None or empty.
    Raises:
        FileNotFoundError: the folder has no config.json.
        ValueError: config.json is damaged, lacks a field, or has another schema.
    """
    config, run, reading = read_config(folder), Run(folder), Reading()
    data = data_name(config)
    suites = without_copies(read_results(run, reading), data)
    # Of the run's own test set; on another one it is a table.
    curves = [suite for suite in suites if suite.name in CURVES and suite.data == data]
    environment, ood = folder / "environment.json", ood_path(run)
    drawn, centers = illustration_path(run), run.eval_path(SIMILARITY)

    def arrays(name: str, kind: type[Arrays]) -> Arrays | None:
        path = run.eval_path(name)
        return reading(path, partial(read_arrays, path, kind), None)

    return RunResults(
        folder=folder,
        config=config,
        environment=reading(environment, lambda: read_environment(environment), {}),
        epochs=read_epochs(run, reading),
        suites=[suite for suite in suites if suite not in curves],
        curves=curves,
        samples=arrays(SAMPLES, Samples),
        embedding=arrays(EMBEDDING, Embedding),
        ood=reading(ood, lambda: _of_run(run, ood, stored_ood), None),
        projection=arrays(PROJECTION, ProjectedFeatures),
        illustration=reading(drawn, lambda: _of_run(run, drawn, stored_illustration), None),
        audits=_audits(run, reading),
        similarity=reading(centers, lambda: stored_similarity(run), None),
        unread=tuple(reading.unread),
    )


def _of_run(run: Run, path: Path, read: Callable[[Run], R | None]) -> R | None:
    found = read(run) if is_there(path) else None
    if found is not None:
        check_weights(run, path, found.checkpoint, found.weights)
    return found


def _audits(run: Run, reading: Reading) -> list[StoredAudit]:
    found = (reading(path, partial(read_audit, path), None) for path in audit_paths(run))
    return [audit for audit in found if audit is not None]


def read_whole_run(folder: Path) -> RunResults:
    """The same, for those who must not leave anything out.

    Raises:
        FileNotFoundError, ValueError: as `read_run`, and ValueError where any other file is damaged.
    """
    run = read_run(folder)
    for one in run.unread:
        if one.damaged:
            raise ValueError(one.reason)
    return run


@dataclass(frozen=True)
class Readable:
    """What there is to report on.

    Args:
        runs: in the order of tables: by data, backbone, method, tag and seed.
        unread: folders that are no runs, or whose config.json cannot be read; files that cannot; copies.
    """

    runs: list[RunResults]
    unread: list[Unread]


def read_all(folders: Sequence[Path]) -> Readable:
    """All runs of these folders that can be read, each once, and what cannot.

    Two runs of the same method, tag and seed are told apart by where they lie; a copy of one is left out.

    Raises:
        ValueError: no folders, or none of them can be read.
    """
    if not folders:
        raise ValueError("a report needs at least one run folder; got none: train and evaluate a run first")
    reading = Reading()
    with one_warning():
        read = [reading(folder, partial(read_run, folder), None) for folder in _each_once(folders)]
    runs = told_apart(sorted((run for run in read if run is not None), key=lambda run: run.order), reading)
    unread = [*reading.unread, *(one for run in runs for one in run.unread)]
    if not runs:
        more = f" (and {len(unread) - 1} more folders)" if len(unread) > 1 else ""
        raise ValueError(f"no run can be read: {unread[0].reason}{more}")
    return Readable(runs, unread)


def _each_once(folders: Sequence[Path]) -> list[Path]:
    return list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]


def read_runs(folders: Sequence[Path]) -> list[RunResults]:
    """Runs in the order of tables: by data, backbone, method, tag and seed; a warning for whatever is left out.

    Raises:
        ValueError: as `read_all`.
    """
    found = read_all(folders)
    warn_of(found.unread)
    return found.runs


def warn_of(unread: Iterable[Unread]) -> None:
    """A warning for everything that is left out."""
    for one in unread:
        warnings.warn(f"left out: {one.reason}", stacklevel=3)
