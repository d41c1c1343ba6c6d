"""What a sweep keeps of a task beside its run: lock, fence, log, and the error of one that failed."""

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from advdpnp.bounded_files import no_wait
from advdpnp.lock import owner_of
from advdpnp.runs import read_json, write_json

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None  # type: ignore[assignment]

FOLDER = ".sweep"
# Of a problem, in characters.
_LONGEST = 1000


@dataclass(frozen=True)
class Records:
    """Files of one task.

    Args:
        run: its run's folder.
        name: what is done with the run.
    """

    run: Path
    name: str

    @property
    def lock_path(self) -> Path:
        """Held by the process that works on it."""
        return self.run / FOLDER / f"{self.name}.lock"

    @property
    def fence_path(self) -> Path:
        """A line for each process that ever worked on it."""
        return self.run / FOLDER / f"{self.name}.fence"

    @property
    def log_path(self) -> Path:
        """What it said while it worked."""
        return self.run / FOLDER / f"{self.name}.log"

    @property
    def failure_path(self) -> Path:
        """Why it failed."""
        return self.run / FOLDER / f"{self.name}.failed.json"

    def failure(self) -> str:
        """The error that ended it, in one line; "" where there was none since it was last begun."""
        if not self.failure_path.is_file():
            return ""
        try:
            return " ".join(str(read_json(self.failure_path).get("problem", ""))[:_LONGEST].split()) or "failed"
        except ValueError as error:
            return str(error)

    def fail(self, problem: str) -> None:
        """Store the error that ended it."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_json(self.failure_path, {"problem": problem, "host": socket.gethostname(), "time": when})

    def begin(self) -> None:
        """Forget an earlier failure: it is tried again."""
        with contextlib.suppress(OSError):
            self.failure_path.unlink()


def held(path: Path) -> bool:
    """Whether a process, here or on another machine of the same file system, holds a lock file.

    Where the file system has no locks, whether the process that it names may be there.
    """
    owner = owner_of(path)
    if owner is not None and owner[1] == socket.gethostname() and not _exists(owner[0]):
        return False
    try:
        file = open(path, "rb", opener=no_wait)  # noqa: SIM115
    except OSError:
        return False
    with file:
        if fcntl is None:
            return owner is not None
        try:
            # Whoever begins just now would be refused; so it is tried only where somebody seems to be.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return owner is not None
        # Closing the file lets go of it.
        return False


def _exists(process: int) -> bool:
    """Whether this machine has a process of this number; where that cannot be told, it has."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
