"""TensorBoard: event files in the run's folder, or in another one."""

import json
from pathlib import Path
from typing import Any

from advdpnp.loggers.logger import Entry, LoggedRun, LogPlace
from advdpnp.loggers.optional import needed


class TensorBoardLogger:
    """Writes event files.

    Args:
        folder: where they go; by default tensorboard/ in the run's folder.
    Raises:
        ValueError: tensorboard is not installed.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self._tool = needed("torch.utils.tensorboard", "tensorboard")
        self._folder = folder
        self._writer: Any = None

    @property
    def name(self) -> str:
        return "tensorboard" if self._folder is None else f"tensorboard {self._folder}"

    def begin(self, run: LoggedRun, known: LogPlace) -> LogPlace:
        # A run may be moved, and its folder of events with it.
        identity = "tensorboard" if self._folder is None else str(Path(self._folder).absolute())
        folder = run.folder / identity
        done = known.epochs if known.identity == identity and folder.is_dir() else 0
        # Epochs from this one on that a kill left behind half-logged are not shown.
        self._writer = self._tool.SummaryWriter(str(folder), purge_step=done + 1 if done else None)
        if not done:
            self._writer.add_text("config", f"```json\n{json.dumps(run.config, indent=1)}\n```")
        return LogPlace(identity, done)

    def log(self, entry: Entry) -> None:
        for name, value in entry.scalars.items():
            self._writer.add_scalar(name, value, entry.epoch)
        for name, values in entry.histograms.items():
            self._writer.add_histogram(name, values, entry.epoch)
        for name, image in entry.images.items():
            self._writer.add_image(name, image, entry.epoch, dataformats="HWC")
        self._writer.flush()

    def close(self, finished: bool) -> None:
        self._writer.close()
