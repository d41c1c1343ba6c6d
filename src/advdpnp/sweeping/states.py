"""The states of a sweep's tasks, for people and as JSON."""

import types
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

from advdpnp.runs import Json
from advdpnp.sweeping.tasks import State, Status, SweepTask


def read_states(
    tasks: Sequence[SweepTask], problems: Mapping[str, str] = types.MappingProxyType({})
) -> list[tuple[SweepTask, Status]]:
    """Every task with its state, as the folders of the runs have it now.

    Args:
        tasks: of a sweep.
        problems: by key, of those that have just failed: in folders that cannot be written nothing says so.
    """
    found = {task.key: _failed_or(task.status(), problems.get(task.key)) for task in tasks}
    return [(task, _explained(task, found)) for task in tasks]


def _failed_or(status: Status, problem: str | None) -> Status:
    return status if problem is None or status.state not in ("waiting", "interrupted") else Status("failed", problem)


def _explained(task: SweepTask, found: Mapping[str, Status]) -> Status:
    """What a task that waits will wait for in vain."""
    status = found[task.key]
    failed = [key for key in task.after if found[key].state == "failed"]
    return Status("waiting", f"needs {failed[0]}, which failed") if failed and status.state == "waiting" else status


def states_lines(states: Sequence[tuple[SweepTask, Status]]) -> list[str]:
    """A line for each task."""
    return [f"{status.state:<12} {task.key}{f': {status.detail}' * bool(status.detail)}" for task, status in states]


def closing_lines(states: Sequence[tuple[SweepTask, Status]]) -> list[str]:
    """What a sweep that has ended leaves undone: a problem of several tasks once, and what waits for them in one line.

    Args:
        states: of `read_states`.
    """
    first: dict[str, str] = {}
    shown = []
    for task, status in states:
        if status.state == "failed" and first.setdefault(status.detail, task.key) != task.key:
            status = Status("failed", f"as {first[status.detail]}")
        if status.state not in ("finished", "waiting"):
            shown.append((task, status))
    waiting = sum(status.state == "waiting" for _, status in states)
    in_vain = f"{'waiting':<12} {waiting} task{'s' * (waiting != 1)} in vain, for what failed"
    return [*states_lines(shown), *([in_vain] if waiting else [])]


def counts_text(states: Sequence[tuple[SweepTask, Status]]) -> str:
    """ "3 finished, 1 failed, 2 waiting"."""
    counts = Counter(status.state for _, status in states)
    return ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state]) or "no tasks"


def states_value(states: Sequence[tuple[SweepTask, Status]]) -> list[Json]:
    """The same as JSON values."""
    return [
        {
            "task": task.key,
            "run": str(task.run.folder),
            "state": status.state,
            "detail": status.detail,
            "after": list(task.after),
            "log": str(task.records.log_path),
        }
        for task, status in states
    ]
