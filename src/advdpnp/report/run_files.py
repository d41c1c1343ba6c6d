"""The files of a run folder beside its evaluations, read and checked one by one."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

from advdpnp import checksums
from advdpnp.bounded_files import MOST_LOG, read_bytes
from advdpnp.ranges import Count, Degrees, Integer, Natural, NonNegative, Share, parse_eps
from advdpnp.result_parts import Environment
from advdpnp.results import PARTIAL, EvaluationResult, read_result, result_files
from advdpnp.runs import Json, Run, read_shown
from advdpnp.same_weights import check_weights
from advdpnp.stored_values import check_schema, check_value, later_epoch, shown_text

SCHEMA = 1
T = TypeVar("T")


class _Data(TypedDict):
    name: str


class _Defense(TypedDict):
    name: str


class _Attack(TypedDict):
    eps: NonNegative
    step_size: NotRequired[NonNegative | str]
    steps: NotRequired[Natural]
    norm: NotRequired[str]
    mode: NotRequired[str]
    ramp: NotRequired[Share]
    spread: NotRequired[Share]


class _Augmentation(TypedDict):
    padding: Any
    flip: Any


class _Averaging(TypedDict):
    kind: NotRequired[str]


class _WeightPerturbation(TypedDict):
    gamma: NotRequired[NonNegative]


class _RateScaling(TypedDict):
    batch: NotRequired[Natural]


class _Recipe(TypedDict):
    name: str
    attack: _Attack
    epochs: NotRequired[Count]
    holdout: NotRequired[Natural]
    train_images: NotRequired[Natural]
    label_smoothing: NotRequired[Share]
    augmentation: NotRequired[_Augmentation]
    averaging: NotRequired[_Averaging]
    weight_perturbation: NotRequired[_WeightPerturbation]
    rate_scaling: NotRequired[_RateScaling]


class _Network(TypedDict):
    model: str
    weights: str | None
    sha256: str
    arguments: NotRequired[dict[str, Any]]
    mean: NotRequired[list[float]]
    std: NotRequired[list[float]]


class _Config(TypedDict):
    data: str | _Data
    backbone: str
    seed: Integer
    tag: str
    title: NotRequired[str]


class _Trained(_Config):
    defense: _Defense
    recipe: _Recipe


class _Foreign(_Config):
    foreign: _Network


class _Loss(TypedDict):
    total: float | None


class _Holdout(TypedDict, total=False):
    clean_accuracy: Share | None
    robust_accuracy: Share | None


class _Centers(TypedDict, total=False):
    norm_mean: NonNegative | None
    norm_min: NonNegative | None
    norm_max: NonNegative | None
    angle_mean_degrees: Degrees | None
    nearest_rival_mean_degrees: Degrees | None
    angle_min_degrees: Degrees | None


class _Epoch(TypedDict):
    epoch: Count
    seconds: NonNegative
    loss: _Loss
    holdout: _Holdout | None
    centers: NotRequired[_Centers | None]


@dataclass(frozen=True)
class Unread:
    """What a report leaves out.

    Args:
        path: a file or a folder.
        reason: in one line why, and what cures it.
        damaged: whether it is not what it must be; what a kill or a loss that grew leaves behind is as it must be.
    """

    path: Path
    reason: str
    damaged: bool = True

    @classmethod
    def of(cls, path: Path, error: Exception) -> "Unread":
        """Of an error in reading it."""
        if isinstance(error, OSError) and error.errno is not None:
            problem = f"{path} cannot be read ({error.strerror}): give yourself the right to, or leave it out"
            return cls(path, shown_text(problem))
        return cls(path, shown_text(" ".join(str(error).split())))


@dataclass
class Reading:
    """Reads what can be read, and keeps in mind what cannot."""

    unread: list[Unread] = field(default_factory=list)

    def __call__(self, path: Path, read: Callable[[], T], otherwise: T) -> T:
        """What `read` gives; where it raises ValueError or OSError, the other value."""
        try:
            return read()
        except (ValueError, OSError) as error:
            self.leave_out(path, error)
            return otherwise

    def leave_out(self, path: Path, error: Exception) -> None:
        """Keep in mind that something of this path is not in the report."""
        self.unread.append(Unread.of(path, error))

    def note(self, path: Path, reason: str) -> None:
        """The same of what is not damaged."""
        self.unread.append(Unread(path, shown_text(reason), damaged=False))


def is_there(path: Path) -> bool:
    """Whether there is a file to be read; ValueError where there is something else in its place."""
    if path.is_file():
        return True
    if os.path.lexists(path):
        what = "a link that leads to no file" if path.is_symlink() else "a folder" if path.is_dir() else "no file"
        raise ValueError(f"{path} is {what}, where a file should be: remove it, and run again what writes the file")
    return False


def read_config(folder: Path) -> Json:
    """config.json of a run; FileNotFoundError where there is none, ValueError where it is not what it must be."""
    path = folder / "config.json"
    if not is_there(path):
        what = "is not there" if not os.path.lexists(folder) else "holds no run: expected config.json in it"
        raise FileNotFoundError(f"{folder} {what}; give folders such as runs/digits/tiny/adv-dpnp/seed-0")

    return read_shown(path, "train the run again", _config)


def _config(stored: Json) -> Json:
    check_schema(stored, SCHEMA)
    check_value("config", stored, _Foreign if "foreign" in stored else _Trained)
    if "recipe" in stored and isinstance(stored["recipe"]["attack"].get("step_size"), str):
        parse_eps(stored["recipe"]["attack"]["step_size"])
    return stored


def read_environment(path: Path) -> Json:
    """environment.json; nothing where there is none."""
    return read_shown(path, "delete it and train with --resume", _environment) if is_there(path) else {}


def _environment(stored: Json) -> Json:
    check_value("environment.json", stored, Environment)
    return stored


def read_epochs(run: Run, reading: Reading) -> list[Json]:
    """The epochs of train.jsonl that can be read; a last line that a kill cut short is no loss, if it is repeated."""
    found = _read_epochs(run, reading)
    trained = reading(run.weights_path("last"), lambda: run.trained_epochs("last"), None)
    if trained is not None and len(found) < trained and all(one.path != run.log_path for one in reading.unread):
        lost = f"{run.log_path} holds {len(found)} of {trained} epochs: the curves of the others are lost"
        reading.note(run.log_path, f"{lost}, and the weights are not; restore it from a copy")
    return found


def _read_epochs(run: Run, reading: Reading) -> list[Json]:
    path, epochs, damaged, gaps, checked = run.log_path, list[Json](), list[int](), list[int](), True
    last = 0
    if not reading(path, lambda: is_there(path), False):
        return []
    content = reading(path, lambda: read_bytes(path, MOST_LOG), b"")
    lines = content.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            epoch, whole, has_checksum = _epoch(line)
            last = later_epoch(epoch, last)
        except (ValueError, TypeError, RecursionError):
            if number < len(lines) or content.endswith((b"\n", b"}")):
                damaged.append(number)
            continue
        epochs.append(epoch)
        gaps += [] if whole else [number]
        checked &= has_checksum
    if not checked:
        checksums.tell_unchecked(path)
    if damaged:
        problem = f"{path} is damaged in {_lines(damaged)}: restore it from a copy, or resume the training"
        reading.leave_out(path, ValueError(problem))
    if gaps:
        problem = f"{path} has numbers that are not finite in {_lines(gaps)}: they are gaps in the figures"
        reading.note(path, f"{problem}; a lower learning rate may keep the loss finite")
    return epochs


def _epoch(line: bytes) -> tuple[Json, bool, bool]:
    """One line of the log, with None for numbers that are not finite; whether all are; whether it has a checksum."""
    gaps: list[str] = []

    def number(text: str) -> float | None:
        value = float(text)
        if math.isfinite(value):
            return value
        gaps.append(text)
        return None

    _, checked = checksums.unsealed_line(line)
    found = json.loads(shown_text(line.decode()), parse_float=number, parse_constant=number)
    found.pop(checksums.KEY, None)
    check_value("epoch", found, _Epoch)
    check_value("loss", found["loss"], dict[str, float | None])
    return found, not gaps, checked


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
    return f"line {shown}" if len(numbers) == 1 else f"lines {shown}"


def _result(run: Run, path: Path) -> EvaluationResult | None:
    if not is_there(path):
        return None
    result = read_result(path)
    check_weights(run, path, result.checkpoint, result.weights)
    return result


def read_results(run: Run, reading: Reading) -> list[EvaluationResult]:
    """The evaluations that can be read; those that are damaged or unfinished are kept in mind."""
    folder, found = run.eval_path(""), list[EvaluationResult]()
    if os.path.lexists(folder):
        # A glob is silent about a folder that must not be read.
        reading(folder, lambda: next(folder.iterdir(), None), None)
    for path in result_files(run):
        result = reading(path, partial(_result, run, path), None)
        found += [] if result is None else [result]
    for path in result_files(run, finished=False):
        suite = path.name.removesuffix(PARTIAL).partition(".seed-")[0].partition("@")[0]
        again = f"advdpnp evaluate {run.folder} --suite {suite} --resume"
        reading.note(path, f"{path} is an evaluation that is not finished: {again} goes on with it")
    return found
