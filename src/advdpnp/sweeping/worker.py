"""A process that does tasks of a sweep, one after the other, as they come through a pipe."""

import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any


def serve(tasks: "Connection[Any, Any]", means: Any, environment: dict[str, str]) -> None:
    """Do tasks until the pipe is closed, as it is when the process at its other end is gone, however it went.

    Args:
        tasks: gives tasks, takes their outcomes.
        means: what they are done with.
        environment: variables that libraries read when they are loaded, such as OMP_NUM_THREADS.
    """
    os.environ.update(environment)
    if hasattr(os, "setsid"):
        # Ctrl-C on the terminal reaches the sweep alone, which asks its processes to end.
        os.setsid()
    # Only now, since they load torch.
    from advdpnp.progress import Lines
    from advdpnp.signals import Terminated, raised_when_terminated
    from advdpnp.sweeping.work import Outcome, do, prepare

    waiting: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(tasks, waiting), daemon=True).start()
    try:
        with raised_when_terminated():
            prepare(means)
            while (task := waiting.get()) is not None:
                _log_to(task.records.log_path)
                outcome = do(task, means, Lines())
                tasks.send(outcome)
                if outcome.kind == "interrupted":
                    return
    except Terminated:
        return
    except (ValueError, OSError) as error:
        # Of what all tasks need; the first of them tells it.
        if waiting.get() is not None:
            tasks.send(Outcome("failed", " ".join(str(error).split())))


def _receive(tasks: "Connection[Any, Any]", waiting: "SimpleQueue[Any]") -> None:
    """Put what comes into the queue; when the other end is gone, ask this process to store its state and end."""
    try:
        while True:
            task = tasks.recv()
            waiting.put(task)
            if task is None:
                return
    except (EOFError, OSError):
        waiting.put(None)
        os.kill(os.getpid(), signal.SIGTERM)


def _log_to(path: Path) -> None:
    """Append what is printed, by whatever library, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    os.close(file)
