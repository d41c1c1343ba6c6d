"""TensorBoard: event files in the run's folder, or in another one."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from advdpnp.loggers.logger import Entry, LoggedRun, LogPlace
from advdpnp.loggers.optional import needed

# As many as TensorBoard draws.
BUCKETS = 30


class TensorBoardLogger:
    """Writes event files.

    Args:
        folder: where they go; by default tensorboard/ in the run's folder.
    Raises:
        ValueError: tensorboard is not installed.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self._summary = needed("torch.utils.tensorboard.summary", "tensorboard")
        self._folder = folder
        self._events: Any = None

    @property
    def name(self) -> str:
        return "tensorboard" if self._folder is None else f"tensorboard {self._folder}"

    def begin(self, run: LoggedRun, known: LogPlace) -> LogPlace:
        # A run may be moved, and its folder of events with it.
        identity = "tensorboard" if self._folder is None else str(Path(self._folder).absolute())
        folder = run.folder / identity
        done = known.epochs if known.identity == identity and folder.is_dir() else 0
        self._events = _EventFile(folder, done)
        if not done:
            text = f"```json\n{json.dumps(run.config, indent=1)}\n```"
            self._events.write(0, self._summary.text("config", text))
        self._events.flush()
        return LogPlace(identity, done)

    def log(self, entry: Entry) -> None:
        for name, value in entry.scalars.items():
            self._events.write(entry.epoch, self._summary.scalar(name, value))
        for name, values in entry.histograms.items():
            self._events.write(entry.epoch, self._summary.histogram(name, values, BUCKETS))
        for name, image in entry.images.items():
            self._events.write(entry.epoch, self._summary.image(name, image, dataformats="HWC"))
        self._events.flush()

    def close(self, finished: bool) -> None:
        self._events.close()


class _EventFile:
    """An event file that is written at once: torch's writer has a thread for it, which prints its own errors.

    Args:
        folder: where it is made.
        done: epochs that other files there have; what they have of later ones, which a kill cut short, is not shown.
    """

    def __init__(self, folder: Path, done: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event = Event
        folder.mkdir(parents=True, exist_ok=True)
        # In the order of these names TensorBoard reads the files of a folder.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("ab")
        self._records = RecordWriter(self._file)
        self._add(Event(file_version="brain.Event:2"))
        if done:
            self._add(Event(step=done + 1, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, summary: Any) -> None:
        self._add(self._event(step=step, summary=summary))

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
