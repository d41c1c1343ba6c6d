"""Weights & Biases. Where and how it logs, its own environment variables say, such as WANDB_MODE=offline."""

import os
from typing import Any

from advdpnp.loggers.logger import Entry, LoggedRun, LogPlace
from advdpnp.loggers.optional import needed


class WandbLogger:
    """Logs to a run of Weights & Biases, in the project advdpnp or $WANDB_PROJECT.

    Raises:
        ValueError: wandb is not installed.
    """

    name = "wandb"

    def __init__(self) -> None:
        self._tool = needed("wandb", "wandb")
        self._run: Any = None

    def begin(self, run: LoggedRun, known: LogPlace) -> LogPlace:
        project = os.environ.get("WANDB_PROJECT") or "advdpnp"
        of_project, _, identity = known.identity.rpartition("/")
        goes_on = of_project == project
        self._run = self._tool.init(
            project=project,
            name=run.name,
            group=run.group,
            config=run.config,
            id=identity if goes_on else None,
            resume="allow",
            # It would put itself between this program and its output.
            settings=self._tool.Settings(console="off"),
        )
        return LogPlace(f"{project}/{self._run.id}", known.epochs if goes_on else 0)

    def log(self, entry: Entry) -> None:
        histograms = {name: self._tool.Histogram(values) for name, values in entry.histograms.items()}
        images = {name: self._tool.Image(image) for name, image in entry.images.items()}
        # Committed at once: a kill would take what waits for the next step.
        self._run.log({**entry.scalars, **histograms, **images}, step=entry.epoch, commit=True)

    def close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
