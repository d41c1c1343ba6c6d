"""What a sweep is made of: trainings and evaluations, each known by its run folder, where its state is read from."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from advdpnp import api
from advdpnp.api.protocol import Radii, adapted, radius_of, suite_of
from advdpnp.api.stored_evaluation import EvaluationOptions, StoredEvaluation
from advdpnp.api.training import verify
from advdpnp.attacks import Suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.experiments import Experiment, from_config
from advdpnp.result_files import ResultFiles
from advdpnp.run_status import read_status
from advdpnp.runs import Json, Run
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.records import Records, held
from advdpnp.sweeping.sweep_file import SuiteEntry
from advdpnp.training.loop import weights_problem

State = Literal["finished", "running", "interrupted", "failed", "waiting"]


@dataclass(frozen=True)
class Status:
    """How far a task is.

    Args:
        state: read from the run's folder; "waiting" where nothing of it is there yet.
        detail: of a training that has begun its epochs, of a failure the problem; else "".
    """

    state: State
    detail: str = ""


class _Sent:
    """What travels to other processes: fields alone, and nothing that was made of them."""

    def __getstate__(self) -> Json:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class TrainTask(_Sent):
    """One run, trained.

    Args:
        config: of the experiment.
        out: folder of all runs.
        after: keys of the tasks that must be finished first.
    """

    config: Json
    out: Path
    after: tuple[str, ...] = ()

    @cached_property
    def experiment(self) -> Experiment:
        return from_config(self.config)

    @cached_property
    def run(self) -> Run:
        return Run(self.experiment.folder(self.out))

    @cached_property
    def key(self) -> str:
        """What it is called: the run and what is done with it."""
        return f"{self.run.folder.relative_to(self.out).as_posix()} train"

    @property
    def records(self) -> Records:
        return Records(self.run.folder, "train")

    @property
    def lock_paths(self) -> tuple[Path, Path]:
        """What is held by whoever does it: the task's own, and that of any training of this run."""
        return self.records.lock_path, self.run.lock_path

    def status(self) -> Status:
        """Read from the folder, whoever trains it."""
        found = read_status(self.run.folder)
        epochs = f"epoch {len(found.lines)} of {found.epochs}" if found.epochs else ""
        own, of_run = self.lock_paths
        if held(own) or (found.state != "silent" and held(of_run)):
            return Status("running", epochs)
        try:
            if self.is_finished():
                return Status("finished")
        except ValueError as error:
            return Status("failed", " ".join(str(error).split()))
        problem = found.problem or self.records.failure()
        if not problem and found.state == "finished":
            problem = f"{self.run.weights_path('last')} {self._weights_problem}: run writes it anew from the state"
        if problem:
            return Status("failed", problem)
        return Status("interrupted", epochs) if self.run.exists else Status("waiting")

    def is_finished(self) -> bool:
        """Whether the trained weights of this very configuration are there, and what was written."""
        if self.run.exists:
            verify(self.run, self.experiment)
        # A file of weights is read whole, as each suite of the run reads it for its checksum.
        return read_status(self.run.folder).state == "finished" and not self._weights_problem

    @property
    def _weights_problem(self) -> str:
        return weights_problem(self.run, "last", self.experiment.recipe.epochs)

    def perform(self, means: Means, callback: Any = None) -> None:
        """Train, or go on."""
        api.train(
            self.experiment,
            self.out,
            device=means.device,
            data_root=means.data_root,
            resume=True,
            callback=callback,
            checkpoint_seconds=means.checkpoint_seconds,
        )


@dataclass(frozen=True)
class SuiteTask(_Sent):
    """One suite on one trained run, or one shard of it, or their merging.

    Args:
        training: of the run.
        entry: the suite.
        part: of the shards, from 1; 0 for the whole.
        after: keys of the tasks that must be finished first.
    """

    training: TrainTask
    entry: SuiteEntry
    part: int = 0
    after: tuple[str, ...] = ()

    @property
    def run(self) -> Run:
        return self.training.run

    @cached_property
    def suite(self) -> Suite:
        """The attacks; ValueError where the entry is none that can be measured."""
        done, entry = self.training.experiment, self.entry
        pixels = done.data.image_shape[0] * done.data.image_shape[1] * done.data.image_shape[2]
        radii = Radii(done.data.radii, done.data.name, pixels, radius_of(entry.eps or None))
        name = (entry.suite or None) if entry.attack else None
        return adapted(suite_of(self.protocol, radii, entry.norm or None, name), done.defense)

    @property
    def protocol(self) -> Any:
        """The suite as an evaluation takes it: a name, or attacks by hand."""
        return list(self.entry.attack) or self.entry.suite

    @property
    def options(self) -> dict[str, Any]:
        """Of `EvaluationOptions`."""
        entry, shards = self.entry, self.entry.shards
        return {
            "limit": entry.limit or None,
            "indices": entry.indices or None,
            "seed": entry.noise_seed,
            "search_precision": entry.search_precision,
            # The merging is what the last of the shards does; here once more, should it have been killed.
            "shard": f"{max(self.part, 1)}/{shards}" if shards > 1 else "",
            "resume": True,
        }

    def stored(self, facts: Json, whole: bool = True) -> StoredEvaluation:
        """The place of the result, as far as it can be told without images."""
        data = self.training.experiment.data
        # As many images as there are, without their pixels.
        pixels = torch.zeros(()).expand(data.test_size, *data.image_shape)
        images = Images(pixels, torch.zeros((), dtype=torch.int64).expand(data.test_size), levels=1)
        options = EvaluationOptions(**self.options | ({"shard": ""} if whole else {}))
        return StoredEvaluation(self.run, self.suite, images, facts, options)

    def check(self) -> None:
        """Raise ValueError where it cannot be measured on these data."""
        self.stored({}, whole=not self.part).check()

    @cached_property
    def files(self) -> ResultFiles:
        """Where the result lies."""
        return self.stored({}).files

    @cached_property
    def key(self) -> str:
        """What it is called: the run and what is done with it."""
        shard = f" {self.part} of {self.entry.shards}" if self.part else ""
        return f"{self.run.folder.relative_to(self.training.out).as_posix()} {self.files.name}{shard}"

    @property
    def records(self) -> Records:
        shard = f".{self.part}-of-{self.entry.shards}" if self.part else ""
        return Records(self.run.folder, f"{self.files.name}{shard}")

    @property
    def _partial(self) -> Path:
        """Where it is kept until it is finished."""
        return self.files.partial(self.entry.noise_seed, *((self.part, self.entry.shards) if self.part else ()))

    @property
    def lock_paths(self) -> tuple[Path, Path]:
        """What is held by whoever does it: the task's own, and that of any such evaluation."""
        return self.records.lock_path, self._partial.with_suffix(".lock")

    def status(self) -> Status:
        """Read from the run's folder, whoever evaluates it."""
        if any(map(held, self.lock_paths)):
            return Status("running")
        try:
            if self.is_finished():
                return Status("finished")
        except ValueError as error:
            return Status("failed", " ".join(str(error).split()))
        if problem := self.records.failure():
            return Status("failed", problem)
        return Status("interrupted" if self._partial.is_file() else "waiting")

    def is_finished(self) -> bool:
        """Whether the result of these weights is there: that of the whole stands for its shards."""
        which = self.entry.checkpoint
        if not self.run.stored_weights_path(which).is_file():
            return False
        facts = {"checkpoint": which, "weights": self.run.weights_sha256(which)}
        kinds = (True, False) if self.part else (True,)
        return any(self.stored(facts, whole).is_finished() for whole in kinds)

    def perform(self, means: Means, callback: Any = None) -> None:
        """Attack, or go on."""
        entry = self.entry
        api.evaluate_run(
            self.run.folder,
            self.protocol,
            eps=entry.eps or None,
            norm=entry.norm or None,  # type: ignore[arg-type]
            suite_name=(entry.suite or None) if entry.attack else None,
            checkpoint=entry.checkpoint,
            device=means.device,
            data_root=means.data_root,
            callback=callback or Silent(),
            **self.options,
        )


SweepTask = TrainTask | SuiteTask
