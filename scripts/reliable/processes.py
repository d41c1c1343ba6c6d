"""Commands of advdpnp as processes that can be killed: forked from this one, which has imported torch already.

Starting Python with torch takes seconds, and there are hundreds of them. From the fork on it is a process of its own.
"""

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import advdpnp.api
import advdpnp.report
from advdpnp import cli
from advdpnp.data import load, spec

# What the processes need is there before the first of them.
LOADED = advdpnp.api, advdpnp.report, load(spec("digits"), "train")


def started(*arguments: object) -> int:
    """Start `advdpnp ARGUMENTS` with its output thrown away; its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setpgrp()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        status = _called(arguments)
    finally:
        os._exit(status)


def status_of(process: int) -> int:
    """Wait for its end: exit status, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_after(process: int, seconds: float) -> bool:
    """SIGKILL it after so long; False if it had ended by itself, with status 0."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            if status:
                raise RuntimeError(f"a process ended with {os.waitstatus_to_exitcode(status)} before it was killed")
            return False
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    status = status_of(process)
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a process ended with {status} as it was killed")
    return status != 0


def said(*arguments: object) -> tuple[int, str, str]:
    """What `advdpnp ARGUMENTS` returns and prints in this process: status, output, error stream.

    A traceback is an exception of this function.
    """
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as told:
        status = _called(arguments)
    return status, out.getvalue(), told.getvalue()


def _called(arguments: tuple[object, ...]) -> int:
    with _as_arguments(arguments):
        try:
            cli.main()
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


@contextmanager
def _as_arguments(arguments: tuple[object, ...]) -> Iterator[None]:
    before = sys.argv
    sys.argv = ["advdpnp", *map(str, arguments)]
    try:
        yield
    finally:
        sys.argv = before
