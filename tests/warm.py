"""Python processes that begin with torch and the like imported: forked from a server that imported them once.

Starting Python with torch takes seconds, and hundreds of tests start one. A process of `start` is one of its own: with
its own folder, environment and output it does what `python` does with the same arguments, can be killed, and ends as
any does. The server has imported nothing of this package, so PYTHONPATH may lead to another copy of it. What libraries
read when they are imported, as OMP_NUM_THREADS, is the server's.

Tests that are about starting, or about what is imported, start Python itself.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

# What training, attacks, reports and the official AutoAttack import of others; one that is missing is left out.
LIBRARIES = (
    "torch", "torch._dynamo", "torch.export", "torch.distributed", "torchvision", "pyautoattack", "scipy.io",
    "scipy.stats", "sklearn.datasets", "sklearn.decomposition", "matplotlib.figure", "matplotlib.backends.backend_agg",
    "PIL.Image", "jinja2", "yaml", "rich.progress", "typer.core", "safetensors.torch", "unittest.mock",
)  # fmt: skip


class Process:
    """A process of the server: as much of `subprocess.Popen` as tests need."""

    def __init__(self, connection: socket.socket) -> None:
        self._answers = connection.makefile("r")
        self._connection = connection
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, or minus the signal that ended it; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, when it has ended."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens to one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def start(
    arguments: Sequence[str],
    cwd: Path = Path(),
    env: Mapping[str, str] | None = None,
    stdout: IO[Any] | int = subprocess.DEVNULL,
    stderr: IO[Any] | int = subprocess.DEVNULL,
) -> Process:
    """Start what `python ARGUMENTS` would do; a file or its number is where its output goes."""
    with Path(os.devnull).open("r+b") as nothing:
        files = [nothing, *(nothing if given == subprocess.DEVNULL else given for given in (stdout, stderr))]
        numbers = [file if isinstance(file, int) else file.fileno() for file in files]
        return Process(_asked(_server(), arguments, cwd, dict(env or os.environ), numbers))


def run(
    arguments: Sequence[str], cwd: Path = Path(), env: Mapping[str, str] | None = None, timeout: float | None = None
) -> "subprocess.CompletedProcess[str]":
    """The same to the end, with what was printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as told:
        process = start(arguments, cwd, env, out, told)
        try:
            status = process.wait(timeout)
        finally:
            process.send_signal(signal.SIGKILL)
        texts = [(file.seek(0), file.read())[1] for file in (out, told)]
        return subprocess.CompletedProcess(list(arguments), status, *texts)


def commands(folder: Path) -> Path:
    """The folder, with the commands `python` and `advdpnp` in it, whose work the server's processes do.

    A shell finds them on its PATH; a process of this module whose environment names that `python` as WARM_PYTHON has
    it as sys.executable. A signal to such a command does not reach the process that does its work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    client = shlex.join([sys.executable, "-IS", __file__, "ask", _server()])
    for name, first in (("python", ""), ("advdpnp", shlex.quote(str(Path(sys.executable).with_name("advdpnp"))))):
        (folder / name).write_text(f'#!/bin/sh\nexec {client} {first} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@functools.cache
def _server() -> str:
    """The path of its socket; it ends with this process, whose pipe is its input."""
    folder = tempfile.mkdtemp(prefix="warm-")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/socket")
    listener.listen(64)
    number = listener.fileno()
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", str(number)], stdin=subprocess.PIPE, pass_fds=[number],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
    )  # fmt: skip
    listener.close()

    def end() -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return f"{folder}/socket"


def _asked(path: str, arguments: Sequence[str], cwd: Path, env: dict[str, str], files: list[int]) -> socket.socket:
    """A connection on which a new process's number and status will come."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    socket.send_fds(connection, [b"."], files)
    connection.sendall(json.dumps([list(arguments), str(cwd.absolute()), env]).encode())
    connection.shutdown(socket.SHUT_WR)
    return connection


def _serve(listener: socket.socket) -> list[str]:
    """Arguments of a new process: this returns in the new processes alone."""
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    # What the collector visits is written to, and so copied.
    gc.freeze()
    # The keepers of processes that have ended need not be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _kept(connection)
        connection.close()


def _kept(connection: socket.socket) -> list[str]:
    """In the new process its arguments; its keeper tells its number and, in the end, its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    arguments, cwd, env = json.loads(connection.makefile().read())
    if pid := os.fork():
        for number in (0, 1, 2, *files):
            os.close(number)
        try:
            connection.sendall(f"{pid}\n".encode())
            connection.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
        finally:
            os._exit(0)
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # A signal to its group is for it alone.
    os.setpgrp()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    return list(arguments)


def _become(arguments: list[str]) -> None:
    """Do what `python ARGUMENTS` does, for -W, -c, -m and the path of a script."""
    sys.executable = os.environ.get("WARM_PYTHON", sys.executable)
    sys.path[:] = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *sys.path[1:]]
    while arguments[0] == "-W":
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]
        arguments = arguments[2:]
    kind, what = arguments[0], arguments[1] if arguments[0] in ("-c", "-m") else arguments[0]
    sys.argv = [kind, *arguments[2:]] if what != kind else arguments
    sys.path.insert(0, {"-c": "", "-m": str(Path.cwd())}.get(kind, str(Path(kind).parent.resolve())))
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(what, "<string>", "exec"), names)
    else:
        runpy.run_path(what, run_name="__main__")


# Of a new process.
_status = 0


def _leave() -> None:
    """End without taking all that was imported to pieces, which would copy the server's memory first."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_status)


def _worked(arguments: list[str]) -> None:
    global _status
    try:
        _become(arguments)
    except SystemExit as stop:
        _status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    except BaseException:
        _status = 1
        raise


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        # Registered first, so it is what an end does last.
        atexit.register(_leave)
        _worked(_serve(socket.socket(fileno=int(sys.argv[2]))))
    else:
        status = Process(_asked(sys.argv[2], sys.argv[3:], Path.cwd(), dict(os.environ), [0, 1, 2])).wait()
        raise SystemExit(status if status >= 0 else 128 - status)
