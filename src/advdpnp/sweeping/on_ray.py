"""Tasks on Ray: on the cluster that this process is part of, else on one of this machine that it starts itself."""

import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from advdpnp.allocator import keep_freed_memory
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.tasks import SweepTask
from advdpnp.sweeping.work import Outcome, do_and_log

# In the folder of all runs: what a node must read there to be of use.
TOKEN = ".sweep-token"
# How long a node may take to answer, a process of Ray's included that it has to start.
ANSWER_SECONDS = 300.0
# How long another sweep may take to write the token.
WRITE_SECONDS = 10.0


def check_installed() -> None:
    """Raise ValueError where there is no Ray."""
    found = find_spec("ray")
    # A folder that is called ray, such as Ray's own in /tmp, is found too, and has no file that would be run.
    if found is None or found.origin is None:
        raise ValueError("--on ray needs the package ray: pip install 'advdpnp[cluster]', on every node")


class RayRunner:
    """One task of Ray's for each of a sweep's; a process or node that is lost is an outcome, and what follows is ours.

    Args:
        means: what tasks are done with.
        out: folder of all runs, the same one on every node.
        workers: with a cluster that is started here, how many tasks at a time; None for one on each core.
    Raises:
        ValueError: Ray is not installed, is to be reached as a client, or a node does not see the folder.
    """

    def __init__(self, means: Means, out: Path, workers: int | None = None) -> None:
        check_installed()
        self._token = _token(out)
        self._ray, self._means, self._out = _connected(workers, means.threads or 1), means, out
        self._doing: dict[Future[Outcome], Any] = {}
        self._stopped = False
        try:
            nodes = self._check_folder()
            resources = self._ray.cluster_resources()
            wants_gpu = means.device in (None, "cuda") and resources.get("GPU", 0) >= 1
            self._needed = {"num_cpus": means.threads or 1, "num_gpus": int(wants_gpu)}
            # Ray has a queue of its own, and starts nodes by it where it can.
            self.capacity = 1_000_000
            room = resources.get("GPU", 0) if wants_gpu else resources.get("CPU", 0) // self._needed["num_cpus"]
            self.about = f"about {max(int(room), 1)} at a time on Ray, nodes: {nodes}"
        except BaseException:
            self.close()
            raise

    def submit(self, task: SweepTask, takes_over: bool = False) -> "Future[Outcome]":
        variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self._means.threads or 1))
        remote = self._ray.remote(**self._needed, max_retries=0, runtime_env={"env_vars": variables})(_do)
        return self._future(remote.remote(task, self._means, self._out, self._token, takes_over))

    def _future(self, reference: Any) -> "Future[Outcome]":
        future: Future[Outcome] = Future()
        self._doing[future] = reference

        def settle(done: "Future[Outcome]") -> None:
            self._doing.pop(future, None)
            error = done.exception()
            future.set_result(done.result() if error is None else self._lost(error))

        reference.future().add_done_callback(settle)
        return future

    def _lost(self, error: BaseException) -> Outcome:
        errors = self._ray.exceptions
        if self._stopped or isinstance(error, errors.TaskCancelledError):
            return Outcome("interrupted")
        if isinstance(error, errors.NodeDiedError):
            return Outcome("gone", "its node is gone")
        what = {
            errors.OutOfMemoryError: "its process was killed for the memory that it took",
            errors.WorkerCrashedError: "its process was killed",
        }
        found = [text for kind, text in what.items() if isinstance(error, kind)]
        text = " ".join(str(error).split())[:200]
        return Outcome("lost", found[0] if found else f"{type(error).__name__}: {text}")

    def stop(self) -> None:
        self._stopped = True
        for reference in list(self._doing.values()):
            # As Ctrl-C would: the state is stored.
            self._ray.cancel(reference, force=False)

    def close(self) -> None:
        self._ray.shutdown()

    def _check_folder(self) -> int:
        """Raise ValueError unless every node sees the folder of the runs; how many nodes there are.

        A node that goes meanwhile is one less: what it would have done others do.
        """
        ray, on = self._ray, import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        nodes = [node for node in ray.nodes() if node["Alive"]]
        look = ray.remote(num_cpus=0, max_retries=0)(_sees)
        asked = [
            (node, look.options(scheduling_strategy=on(node["NodeID"], soft=False)).remote(self._out, self._token))
            for node in nodes
        ]
        return sum(self._check_answer(node, answer) for node, answer in asked)

    def _check_answer(self, node: dict[str, Any], answer: Any) -> bool:
        """Whether a node is still there; ValueError if it does not answer, or does not see the folder."""
        ray, address = self._ray, node["NodeManagerAddress"]
        try:
            seen = ray.get(answer, timeout=ANSWER_SECONDS)
        except ray.exceptions.RayError as error:
            if node["NodeID"] not in {other["NodeID"] for other in ray.nodes() if other["Alive"]}:
                return False
            problem = " ".join(str(error).split())[:200]
            raise ValueError(f"node {address} of the cluster does not answer ({problem}): remove it") from None
        if not seen:
            raise ValueError(_unseen(self._out, address))
        return True


def _unseen(out: Path, where: str) -> str:
    return f"{out} is another folder on node {where} than here: give --out a folder that all nodes share"


def _do(task: SweepTask, means: Means, out: Path, token: str, takes_over: bool = False) -> Outcome:
    """A task, in a process of Ray's; a node that came later may not see the folder."""
    if not _sees(out, token):
        return Outcome("failed", _unseen(out, socket.gethostname()))
    keep_freed_memory()
    return do_and_log(task, means, _redirected, takes_over)


@contextlib.contextmanager
def _redirected(file: IO[str]) -> Iterator[None]:
    """Send what is printed to a file; Ray has the streams of its process."""
    with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield


def _sees(out: Path, token: str) -> bool:
    try:
        return (out / TOKEN).read_text() == token
    except OSError:
        return False


def _token(out: Path) -> str:
    """What the file for nodes to read holds; made here where there is none."""
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), (out / TOKEN).open("x") as file:
        file.write(secrets.token_hex(16))
    # Another sweep may have made it, and be about to write it.
    until = time.monotonic() + WRITE_SECONDS
    while not (token := (out / TOKEN).read_text()):
        if time.monotonic() > until:
            raise ValueError(f"{out / TOKEN} is empty: remove it")
        time.sleep(0.02)
    return token


def _connected(workers: int | None, threads: int) -> Any:
    """Ray, connected to the cluster that this process is in, or to a new one that only this machine reaches."""
    if os.environ.get("RAY_ADDRESS", "").startswith("ray://"):
        raise ValueError(
            "--on ray runs inside the cluster, not as a client of it: unset RAY_ADDRESS, and submit it, as in "
            "ray job submit --address http://HEAD:8265 -- advdpnp sweep FILE.yaml --on ray"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = import_module("ray")
    if ray.is_initialized():
        return ray
    with _own_signals():
        try:
            ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        except ConnectionError:
            if os.environ.get("RAY_ADDRESS"):
                raise ValueError(f"no cluster answers at RAY_ADDRESS={os.environ['RAY_ADDRESS']}: start it") from None
            _bind_to_loopback()
            cores = None if workers is None else workers * threads
            ray.init(
                address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
            )
    return ray


def _bind_to_loopback() -> None:
    """Have Ray take this machine's loopback address, as it does where it knows no clusters; its processes too."""
    # Read by its processes, and by what this process has loaded of it already.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    constants: Any = import_module("ray._private.ray_constants")
    constants.ENABLE_RAY_CLUSTER = False


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; what was there before is put back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, before)
