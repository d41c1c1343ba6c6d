"""How far the training of a run is, read from its folder alone."""

import math
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from advdpnp.lock import owner_of
from advdpnp.runs import Json, Run, list_runs, read_json
from advdpnp.stored_values import check_value

State = Literal["not begun", "training", "silent", "interrupted", "finished", "damaged"]
# So many of the last epochs say how long one takes.
RECENT = 5
# Where nothing tells whether the process lives, a run is silent after so many seconds, and so many epochs, without a
# sign of life. Training stores its state every minute, if not told otherwise.
SILENT_SECONDS, SILENT_EPOCHS = 180.0, 3.0


@dataclass(frozen=True)
class RunStatus:
    """What is known of a training.

    Args:
        folder: the run's.
        state: "interrupted" if its process is gone; "silent" if nothing was written for long, and nothing is known of
            the process, as on another machine.
        lines: of train.jsonl, one for each epoch that is done.
        epochs: how many there will be; 0 as long as nothing says so.
        idle: seconds since anything was written; 0 where nothing was.
        left: seconds that the rest takes at the pace of the last epochs; None where there is none yet, or no rest.
        problem: what is damaged, in one line.
    """

    folder: Path
    state: State
    lines: tuple[Json, ...] = ()
    epochs: int = 0
    idle: float = 0.0
    left: float | None = None
    problem: str = ""

    @property
    def last(self) -> Json | None:
        """The line of the last epoch that is done."""
        return self.lines[-1] if self.lines else None

    def value(self) -> Json:
        """The same as JSON values, of the lines the last one."""
        return {
            "run": str(self.folder),
            "state": self.state,
            "epoch": len(self.lines),
            "epochs": self.epochs,
            "idle_seconds": round(self.idle, 1),
            "seconds_left": None if self.left is None else _finite(round(self.left, 1)),
            "problem": self.problem,
            "last": _finite(self.last),
        }


def _finite(value: Any) -> Any:
    """JSON values in which numbers that JSON does not have are None."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_status(folder: Path, now: float | None = None) -> RunStatus:
    """The state of a run whose training may begin, go on or end while this reads.

    Args:
        folder: of the run; it need not exist yet.
        now: seconds since 1970, by default the clock's.
    """
    run, now = Run(folder), time.time() if now is None else now
    if not run.exists:
        return RunStatus(folder, "not begun")
    try:
        epochs = read_json(folder / "config.json")["recipe"]["epochs"]
        check_value("recipe.epochs", epochs, int)
        lines = tuple(run.epochs())
        if bad := [number for number, line in enumerate(lines, start=1) if not _is_line(line)]:
            raise ValueError(f"{run.log_path} is damaged in line {bad[0]}: restore it from a copy")
    except (ValueError, KeyError, TypeError, OSError) as error:
        problem = f"{folder / 'config.json'} has no recipe.epochs" if isinstance(error, KeyError) else str(error)
        return RunStatus(folder, "damaged", problem=" ".join(problem.split()))
    idle = max(now - _last_written(run), 0.0)
    if len(lines) >= epochs and (last := run.weights_path("last")).is_file():
        # From the first bytes of the file and its length: the rest may be gigabytes.
        if (run.trained_epochs("last") or 0) >= epochs:
            return RunStatus(folder, "finished", lines, epochs, idle)
        problem = f"{last} is damaged, or of an earlier epoch: --resume writes it anew from the state"
        return RunStatus(folder, "damaged", lines, epochs, idle, problem=problem)
    seconds = _seconds_of_an_epoch(lines)
    state = _state(_lives(run), idle > max(SILENT_SECONDS, SILENT_EPOCHS * (seconds or 0.0)))
    return RunStatus(folder, state, lines, epochs, idle, _left(run, epochs - len(lines), seconds, now))


def runs_at(path: Path) -> list[Path]:
    """The runs at or under a path; the path itself where there is none yet.

    Raises:
        ValueError: it is a file.
    """
    if path.is_file():
        raise ValueError(f"{path} is a file: give the folder of a run, such as runs/cifar10/resnet18/at/seed-0")
    return [path] if Run(path).exists else list_runs(path) or [path]


def _is_line(line: object) -> bool:
    """Whether it has what is shown of an epoch."""
    if not isinstance(line, dict) or not isinstance(line.get("loss"), dict):
        return False
    held = line.get("holdout") or {}
    if not isinstance(held, dict):
        return False
    shares = [held.get(name, 0.0) for name in ("clean_accuracy", "robust_accuracy")]
    if not all(_is_number(share) and 0 <= share <= 1 for share in shares):
        return False
    wanted = [line.get(name) for name in ("epoch", "epochs", "lr", "seconds")] + [line["loss"].get("total")]
    wanted += line["loss"].values()
    return all(map(_is_number, [*wanted, line.get("validation_seconds", 0.0)]))


def _is_number(value: object) -> bool:
    """Whether it is a number of a size that can be counted with; a loss may have grown out of all bounds."""
    if isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _state(lives: bool | None, long_silent: bool) -> State:
    if lives is None:
        return "silent" if long_silent else "training"
    return "training" if lives else "interrupted"


def _lives(run: Run) -> bool | None:
    """Whether the process that trains is there, as its lock file says; None where nothing does."""
    owner = owner_of(run.lock_path)
    if owner is None or owner[1] != socket.gethostname() or os.name == "nt":
        return None
    try:
        # Signal 0 reaches nobody: it only asks. Taking the lock would keep out a training that begins just now.
        os.kill(owner[0], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return None
    return True


def _last_written(run: Run) -> float:
    """When the training has last written a file, in seconds since 1970."""
    written = (run.folder / "config.json", run.folder / "environment.json", run.log_path, run.state_path)
    return max((path.stat().st_mtime for path in written if path.exists()), default=0.0)


def _seconds_of_an_epoch(lines: tuple[Json, ...]) -> float | None:
    recent = [line["seconds"] + line.get("validation_seconds", 0.0) for line in lines[-RECENT:]]
    return sum(recent) / len(recent) if recent else None


def _left(run: Run, epochs: int, seconds: float | None, now: float) -> float | None:
    if seconds is None:
        return None
    since = max(now - run.log_path.stat().st_mtime, 0.0)
    # Of the epoch that runs, nothing is known but that it is not done.
    return max(seconds - since, 0.0) + (epochs - 1) * seconds if epochs > 0 else 0.0
