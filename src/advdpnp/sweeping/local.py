"""Tasks in processes of this machine, each with threads, or a GPU, of its own."""

import contextlib
import multiprocessing
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from advdpnp.sweeping.means import Means
from advdpnp.sweeping.tasks import SweepTask
from advdpnp.sweeping.work import Outcome
from advdpnp.sweeping.worker import serve


class LocalRunner:
    """Several processes, started with spawn; one that is killed is replaced, and the others do not notice.

    Args:
        means: what tasks are done with.
        workers: how many processes.
        gpus: numbers of GPUs, one for each process in turn; empty for none.
    """

    def __init__(self, means: Means, workers: int, gpus: tuple[str, ...] = ()) -> None:
        self.capacity, self.about = workers, f"{workers} at a time"
        self._pool = ThreadPoolExecutor(workers)
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        threads = {} if means.threads is None else dict.fromkeys(_THREADS, str(means.threads))
        self._workers = [
            _Worker(means, threads | ({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}))
            for number in range(workers)
        ]
        for worker in self._workers:
            self._idle.put(worker)

    def submit(self, task: SweepTask, takes_over: bool = False) -> "Future[Outcome]":
        # A process of this machine that is killed holds no lock.
        return self._pool.submit(self._do, task)

    def _do(self, task: SweepTask) -> Outcome:
        worker = self._idle.get()
        try:
            return worker.do(task)
        finally:
            self._idle.put(worker)

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self._pool.shutdown()


def gpus_of(device: str | None) -> tuple[str, ...]:
    """Numbers of the GPUs that processes can have, as CUDA_VISIBLE_DEVICES names them; none where they take none."""
    import torch

    if device not in (None, "cuda"):
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = [name.strip() for name in visible.split(",") if name.strip()]
    return tuple(named or map(str, range(torch.cuda.device_count()))) if torch.cuda.is_available() else ()


def usual_workers(gpus: tuple[str, ...], threads: int) -> int:
    """One process for each GPU; without, as many as there are cores for their threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return len(gpus) or max(cores // threads, 1)


# What the libraries under torch and numpy read when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class _Worker:
    """One process, which is started when there is a task for it."""

    def __init__(self, means: Means, environment: dict[str, str]) -> None:
        self._means, self._environment = means, environment
        self._process: Any = None
        self._tasks: Connection[Any, Any] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def do(self, task: SweepTask) -> Outcome:
        try:
            with self._lock:
                if self._stopped:
                    return Outcome("interrupted")
                self._start()
                assert self._tasks is not None
                self._tasks.send(task)
            outcome: Outcome = self._tasks.recv()
        except (EOFError, OSError) as error:
            return self._ended() if self._process is not None else Outcome("lost", f"no process for it: {error}")
        return outcome

    def _start(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        context = multiprocessing.get_context("spawn")
        self._tasks, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._means, self._environment))
        process.start()
        self._process = process
        theirs.close()

    def _ended(self) -> Outcome:
        """What became of a process that closed its pipe."""
        self._process.join()
        status, self._process = self._process.exitcode, None
        if self._stopped:
            return Outcome("interrupted")
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return Outcome("lost", f"its process {ended}")

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.is_alive():
                self._process.terminate()

    def close(self) -> None:
        with self._lock:
            self._stopped = True
            if self._tasks is not None:
                # The process ends when there is nothing more to come.
                with contextlib.suppress(OSError):
                    self._tasks.send(None)
        if self._process is not None:
            self._process.join()
