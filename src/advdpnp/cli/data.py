"""`advdpnp data check`, `data download` and `data describe`."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advdpnp.cli.command import (
    Answer,
    DataRoot,
    ImageSize,
    SkipBroken,
    SplitSeed,
    Switches,
    command,
    data_app,
    on_terminal,
)

if TYPE_CHECKING:
    from advdpnp.data import DataSpec, FileCheck

_SECONDS_BETWEEN_LINES = 10.0

Name = Annotated[str, typer.Argument(help="Data set; see `advdpnp list data`.")]


@command(data_app)
def check(switches: Switches, name: Name, data_root: DataRoot = None) -> Answer:
    """Verify the MD5 sums of a data set's files."""
    from advdpnp import data

    _check_published(name)
    return _answer(name, data.check(name, data.data_root(data_root)))


@command(data_app)
def download(
    switches: Switches,
    name: Name,
    mirror: Annotated[str | None, typer.Option("--from", help="Address of a folder that holds the archives.")] = None,
    data_root: DataRoot = None,
) -> Answer:
    """Fetch a published data set; an interrupted download goes on where it stopped."""
    from advdpnp import data

    _check_published(name)
    with _showing_transfer() as callback:
        return _answer(name, data.download(name, data.data_root(data_root), mirror, callback))


@command(data_app)
def describe(
    switches: Switches,
    name: Annotated[str, typer.Argument(help="Data set, see `advdpnp list data`, or folder:PATH.")],
    image_size: ImageSize = None,
    split_seed: SplitSeed = 0,
    skip_broken: SkipBroken = False,
    out: Annotated[Path | None, typer.Option(help="PNG with images of each class; by default NAME.png.")] = None,
    data_root: DataRoot = None,
) -> Answer:
    """Facts about a data set; where its files are, counts, statistics and a picture of each class."""
    from advdpnp import data
    from advdpnp.api.named_data import facts_of

    root = data.data_root(data_root)
    facts = facts_of(name, image_size, split_seed, skip_broken, root, _tell)
    value: dict[str, Any] = {**data.describe(facts)}
    lines = [f"{key:>16}  {text}" for key, text in value.items()]
    try:
        images = data.load_splits(facts, root)
    except FileNotFoundError as error:
        nothing = f"nothing is counted or drawn: {error}"
        return Answer(value | {"splits": None, "sheet": None}, "\n".join([*lines, nothing]))
    splits = {split: data.measure(part, facts) for split, part in images.items()}
    lines += [f"{split:>16}  {data.measure_text(found)}" for split, found in splits.items()]
    sheet = out or Path(f"{facts.name.replace('/', '-')}.png")
    _draw(facts, next(iter(images.values())), sheet)
    return Answer(value | {"splits": splits, "sheet": str(sheet)}, "\n".join([*lines, f"{'sheet':>16}  {sheet}"]))


def _check_published(name: str) -> None:
    """Raise ValueError for a folder of images, of which there is nothing published."""
    if name.startswith("folder:"):
        raise ValueError(
            f"expected a published data set (advdpnp list data); got {name}, images of your own, which have no "
            f"published sums: `advdpnp data describe {name}` reads them all and names those that cannot be read"
        )


def _answer(name: str, checks: "list[FileCheck]") -> Answer:
    from advdpnp.data import spec

    files = [
        {"path": str(file.path), "expected": file.expected, "actual": file.actual, "ok": file.ok} for file in checks
    ]
    text = "\n".join(file.text() for file in checks) or f"{name}: {spec(name).origin}, so there are none to check"
    return Answer({"data": name, "files": files}, text, status=0 if all(file.ok for file in checks) else 2)


def _tell(line: str) -> None:
    print(on_terminal(line), file=sys.stderr, flush=True)


def _draw(facts: "DataSpec", images: Any, path: Path) -> None:
    from advdpnp import data
    from advdpnp.runs import write_bytes

    write_bytes(path, data.contact_sheet(images, facts.class_names))


class TransferLines:
    """Progress of a download: a line when a file begins, and one every ten seconds with the time left."""

    def __init__(self) -> None:
        self._name, self._size, self._done, self._start = "", 0, 0, 0
        self._began = self._told = 0.0

    def on_note(self, text: str) -> None:
        print(on_terminal(text), file=sys.stderr, flush=True)

    def on_file(self, name: str, size: int, done: int) -> None:
        from advdpnp.data.download.fetch import megabytes

        self._name, self._size, self._done, self._start = name, size, done, done
        self._began = self._told = time.monotonic()
        already = f", {megabytes(done)} of it here already" if done else ""
        self.on_note(f"{name}: {megabytes(size)}{already}")

    def on_bytes(self, count: int) -> None:
        from advdpnp.data.download.fetch import megabytes
        from advdpnp.progress import duration

        self._done += count
        now = time.monotonic()
        if now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        left = (now - self._began) / (self._done - self._start) * (self._size - self._done)
        self.on_note(f"{self._name}: {megabytes(self._done)} of {megabytes(self._size)}, about {duration(left)} left")


class TransferBar:
    """Progress of a download: a bar with size, speed and time left. A context manager."""

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
def _showing_transfer() -> "Iterator[TransferBar | TransferLines]":
    """The callback that shows the progress of a download: a bar on a terminal, plain lines elsewhere."""
    if sys.stderr.isatty() and sys.stdout.isatty():
        with TransferBar() as bar:
            yield bar
    else:
        yield TransferLines()
