"""One task, done in this process: claimed, performed, and whatever goes wrong in one line."""

import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import IO, Any, Literal

import torch

from advdpnp.bounded_files import no_link
from advdpnp.experiments import read_plugin
from advdpnp.fence import SupersededError, claim, fenced
from advdpnp.lock import InUseError, only_process, owner_of
from advdpnp.progress import Lines
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.tasks import SweepTask


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Args:
        kind: "busy" where another process is at it, "interrupted" where a signal asked to end, and the state is
            stored; "lost" where the process that worked on it was killed, "gone" where its machine does not answer.
        problem: of a failure, in one line.
        seconds: that were spent on it.
    """

    kind: Literal["finished", "failed", "busy", "interrupted", "lost", "gone"]
    problem: str = ""
    seconds: float = 0.0


def do_and_log(
    task: SweepTask,
    means: Means,
    redirected: Callable[[IO[str]], AbstractContextManager[object]],
    takes_over: bool = False,
) -> Outcome:
    """Do a task in a process that does nothing else meanwhile, and append what it says to the task's log.

    Args:
        task, means, takes_over: as `do` takes them.
        redirected: sends what is printed to a file, while it lasts.
    """
    path = task.records.log_path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", opener=no_link) as file, redirected(file):
            _prepare(means)
            return do(task, means, Lines(), takes_over)
    except (ValueError, OSError) as error:
        return Outcome("failed", _line(error))


def _prepare(means: Means) -> None:
    """What a process needs for its tasks: threads, and defenses from elsewhere."""
    if means.threads is not None:
        torch.set_num_threads(means.threads)
    for reference in means.plugins:
        read_plugin(reference)


def do(task: SweepTask, means: Means, callback: Any, takes_over: bool = False) -> Outcome:
    """Do a task, once: other processes are kept out, and those that were thought dead write nothing any more.

    Args:
        task: what is done.
        means: with what.
        callback: of training and evaluation.
        takes_over: whether a process that was at it counts as dead, though its lock may be held.
    """
    records, began = task.records, time.monotonic()
    try:
        if takes_over:
            _break_locks(task)
        with only_process(records.lock_path, task.key):
            if task.is_finished():
                return Outcome("finished")
            with fenced(claim(records.fence_path)):
                records.begin()
                return replace(_performed(task, means, callback), seconds=time.monotonic() - began)
    except (InUseError, SupersededError) as error:
        return Outcome("busy", _line(error))
    except KeyboardInterrupt:
        return Outcome("interrupted")
    except (ValueError, OSError) as error:
        return Outcome("failed", _line(error))


def _break_locks(task: SweepTask) -> None:
    """Remove the lock files of a sweep's process; what others hold, as a training by hand, is left to them."""
    owner = owner_of(task.records.lock_path)
    for path in task.lock_paths if owner is not None else ():
        if owner_of(path) == owner:
            path.unlink(missing_ok=True)


def _performed(task: SweepTask, means: Means, callback: Any) -> Outcome:
    try:
        task.perform(means, callback)
    except (InUseError, SupersededError):
        raise
    except Exception as error:  # of any kind: other tasks go on, and this one is shown as failed
        if not isinstance(error, ValueError | OSError):
            traceback.print_exc()
        task.records.fail(_line(error))
        return Outcome("failed", _line(error))
    return Outcome("finished")


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError | OSError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
