"""One process at a time: a lock file that the operating system lets go of when its process ends, however it ends."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from advdpnp.bounded_files import no_link, read_text
from advdpnp.stored_values import parsed

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None  # type: ignore[assignment]


class InUseError(ValueError):
    """Another process has what was asked for."""


@contextmanager
def only_process(path: Path, what: str) -> Iterator[None]:
    """Keep other processes out of something while this lasts.

    The lock of a process that was killed is free at once; on a file system of several machines it holds between them
    too, if that file system has locks. Without locks (Windows, some network drives) nothing is kept out.

    Args:
        path: of the lock file; it is removed at the end.
        what: what other processes must leave alone, for their message, such as a folder.
    Raises:
        InUseError: a ValueError: another process holds it; its number and machine are named.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path, what)
    if file is None:
        yield
        return
    try:
        file.seek(0)
        file.truncate()
        file.write(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield
    finally:
        # Removed before it is free: whoever waits for this file finds that it is gone, and makes a new one. Another
        # file there is somebody else's, who took the place of this process when it was thought dead.
        if _is_at(file, path):
            path.unlink(missing_ok=True)
        file.close()
        with contextlib.suppress(OSError):
            # Where nothing was written, nothing is left behind.
            for folder in made:
                folder.rmdir()


def owner_of(path: Path) -> tuple[int, str] | None:
    """Number and machine of the process that a lock file names; None where it names none. It may have ended since."""
    try:
        owner = parsed(read_text(path))
        return int(owner["process"]), str(owner["host"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _locked(path: Path, what: str) -> IO[str] | None:
    """The locked file, open; None where there are no locks."""
    if fcntl is None:
        return None
    while True:
        file = open(path, "a+", opener=no_link)  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            owner = owner_of(path)
            process = "another process" if owner is None else f"process {owner[0]} on {owner[1]}"
            raise InUseError(f"{what} is in use by {process}: wait until it is done, or stop it") from None
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            return None
        if _is_at(file, path):
            return file
        file.close()


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is still the one at its path: its last owner may just have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
