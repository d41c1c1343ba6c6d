"""What a logger is: something that takes the curves of a training, such as TensorBoard."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Entry:
    """What is logged of one epoch.

    Args:
        epoch: which one, from 1; the step of every curve.
        scalars: by name, as "loss/total".
        histograms: by name, (N,) finite values each.
        images: by name, (height, width, 3) bytes each.
    """

    epoch: int
    scalars: dict[str, float]
    histograms: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)


@dataclass(frozen=True)
class LoggedRun:
    """What a logger is told of the run before its first epoch.

    Args:
        folder: the run's folder.
        config: its resolved experiment, JSON values.
    """

    folder: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """As digits/tiny/at/seed-0."""
        return "/".join(self.folder.absolute().parts[-4:])

    @property
    def group(self) -> str:
        """The name without the seed."""
        return self.name.rpartition("/")[0]


@dataclass(frozen=True)
class LogPlace:
    """Where the log of a run is, and how far.

    Args:
        identity: what the tool knows it by; "" for none.
        epochs: how many epochs it holds.
    """

    identity: str = ""
    epochs: int = 0


class Logger(Protocol):
    """Takes what a training has measured. Any method may raise: the training goes on without the logger."""

    @property
    def name(self) -> str:
        """As what the run remembers it."""

    def begin(self, run: LoggedRun, known: LogPlace) -> LogPlace:
        """Begin the log of a run, or go on with the one that `known` names; returns where it is and how far."""

    def log(self, entry: Entry) -> None:
        """Log an epoch; epochs come in order, each once."""

    def close(self, finished: bool) -> None:
        """Write what is not written yet. The training is finished, or was interrupted."""
