"""A fence around a piece of work: who has claimed it last may write, and nobody who claimed it before.

A lock is let go of when its machine is thought dead; what runs there may be alive, and come back. Each claim has a
number, and what is written under an older one is refused at the moment when it would take its place.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from advdpnp.bounded_files import no_link

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None  # type: ignore[assignment]

# A file is put into its place in an instant; who has the fence for longer is stopped, or its machine is gone.
PATIENCE = 60.0


class SupersededError(RuntimeError):
    """Somebody else has claimed the work since: nothing is written."""


@dataclass(frozen=True)
class Claim:
    """The right to write, until somebody else claims the same.

    Args:
        path: of the fence; it has a line for each claim.
        token: the number of this one, from 1.
    """

    path: Path
    token: int


_held: Claim | None = None


def claim(path: Path) -> Claim:
    """Claim a piece of work: earlier claims are superseded.

    Args:
        path: of the fence; it stays there.
    Raises:
        OSError: it cannot be written, or somebody keeps it from being read for a minute.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+", opener=no_link) as file, _alone(file):
        token = _claims(file) + 1
        file.write(f"{token} process {os.getpid()} on {socket.gethostname()}\n".encode())
        file.flush()
        os.fsync(file.fileno())
    return Claim(path, token)


@contextmanager
def fenced(mine: Claim) -> Iterator[None]:
    """While it lasts, this process writes files of runs only as long as the claim is the last one."""
    global _held
    before, _held = _held, mine
    try:
        yield
    finally:
        _held = before


@contextmanager
def writing() -> Iterator[None]:
    """Around the instant in which a file takes its place; no claim is made meanwhile, where the file system has locks.

    Raises:
        SupersededError: the work is somebody else's by now.
    """
    if _held is None:
        yield
        return
    try:
        file = _held.path.open("rb+")
    except FileNotFoundError:
        raise SupersededError(f"{_held.path} is gone, and with it the claim of this process") from None
    with file, _alone(file):
        if _claims(file) != _held.token:
            raise SupersededError(f"{_held.path} was claimed by another process: nothing is written here any more")
        yield


def _claims(file: IO[bytes]) -> int:
    """How many there were: whole lines."""
    file.seek(0)
    return file.read().count(b"\n")


@contextmanager
def _alone(file: IO[bytes]) -> Iterator[None]:
    """Hold the lock of an open file, where there are locks."""
    held = fcntl is not None and _lock(file)
    try:
        yield
    finally:
        if held:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)


def _lock(file: IO[bytes]) -> bool:
    """Whether the lock was taken; False where the file system has none."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise OSError(f"{file.name} is held by another process: stop it") from None
            time.sleep(0.02)
        except OSError:
            return False
        else:
            return True
