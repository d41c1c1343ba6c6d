"""A process that does tasks of a sweep, one after the other, as they come through a pipe."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import IO, Any


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
    from advdpnp.allocator import keep_freed_memory
    from advdpnp.signals import Terminated, raised_when_terminated
    from advdpnp.sweeping.work import do_and_log

    keep_freed_memory()
    waiting: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(tasks, waiting), daemon=True).start()
    try:
        with raised_when_terminated():
            while (task := waiting.get()) is not None:
                outcome = do_and_log(task, means, _redirected)
                tasks.send(outcome)
                if outcome.kind == "interrupted":
                    return
    except Terminated:
        return


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


@contextmanager
def _redirected(file: IO[str]) -> Iterator[None]:
    """Send what is printed, by whatever library, to a file, until it is sent to the next one."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file.fileno(), stream.fileno())
    yield
