"""What a stage is given, and how it leaves what it finds."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from advdpnp.progress import Lines
from advdpnp.runs import Json, list_runs, write_json
from gpu.scale import Arm, Scale
from gpu.slot import Places


class OutOfTimeError(Exception):
    """The stage's time is up."""


@dataclass
class Context:
    """A stage from the inside.

    Args:
        name: of the stage.
        places: folders.
        scale: how large everything is.
        deadline: in seconds since the epoch; the stage ends by itself then.
        options: what the caller said.
        found: what it leaves, written by `keep`.
    """

    name: str
    places: Places
    scale: Scale
    deadline: float
    options: dict[str, Any]
    found: Json = field(default_factory=dict)

    def keep(self, **entries: object) -> None:
        """Add to what the stage leaves, on disk at once."""
        self.found |= entries
        write_json(self.places.stage(self.name), self.found)

    def alive(self) -> None:
        """News for who watches the stage."""
        path = self.places.stage(self.name)
        if path.exists():
            os.utime(path)

    @property
    def left(self) -> float:
        """Seconds until the stage ends by itself."""
        return self.deadline - time.time()

    def check_time(self) -> None:
        """Raise OutOfTimeError if the time is up."""
        if self.left < 0:
            raise OutOfTimeError(f"{self.name}: the time is up")

    @property
    def arm(self) -> Arm:
        """The arm that the options name."""
        return next(arm for arm in self.scale.arms if arm.label == self.options["arm"])

    def run_folder(self, label: str) -> Path:
        """The run of an arm. FileNotFoundError if it was not begun."""
        found = list_runs(self.places.runs / label)
        if not found:
            raise FileNotFoundError(f"{self.places.runs / label} holds no run: train the arm first")
        return found[0]


class Watch(Lines):
    """Tells how an evaluation goes, and ends it when its time is up.

    Args:
        context: of the stage.
    """

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context

    def on_images(self, images: int) -> None:
        super().on_images(images)
        self.context.check_time()

    def on_steps(self, left: int, bound: float) -> None:
        super().on_steps(left, bound)
        self.context.check_time()
