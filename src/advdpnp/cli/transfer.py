"""What a person sees of a download: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from advdpnp.data.fetch import megabytes
from advdpnp.progress import duration

_SECONDS_BETWEEN_LINES = 10.0


class TransferLines:
    """A line when a file begins, and one every ten seconds with the time left."""

    def __init__(self) -> None:
        self._name, self._size, self._done, self._start = "", 0, 0, 0
        self._began = self._told = 0.0

    def on_note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def on_file(self, name: str, size: int, done: int) -> None:
        self._name, self._size, self._done, self._start = name, size, done, done
        self._began = self._told = time.monotonic()
        already = f", {megabytes(done)} of it here already" if done else ""
        self.on_note(f"{name}: {megabytes(size)}{already}")

    def on_bytes(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        left = (now - self._began) / (self._done - self._start) * (self._size - self._done)
        self.on_note(f"{self._name}: {megabytes(self._done)} of {megabytes(self._size)}, about {duration(left)} left")


class TransferBar:
    """A bar with size, speed and time left. A context manager."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
        )
        self._progress = progress.Progress(*columns, transient=True, console=Console(stderr=True))
        self._task: Any = None

    def __enter__(self) -> "TransferBar":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def on_note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def on_file(self, name: str, size: int, done: int) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=size, completed=done)

    def on_bytes(self, count: int) -> None:
        self._progress.advance(self._task, count)


@contextlib.contextmanager
def transferring() -> Iterator[TransferBar | TransferLines]:
    """Who is told how a download goes."""
    if sys.stderr.isatty() and sys.stdout.isatty():
        with TransferBar() as bar:
            yield bar
    else:
        yield TransferLines()
