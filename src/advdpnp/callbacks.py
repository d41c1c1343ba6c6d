"""Who is told how a run goes: methods that training, an evaluation or a download calls on its way."""

from typing import Any, Protocol


class StopTraining(Exception):
    """Raised by a callback, in `on_step` or `on_epoch`: the state is stored, then `fit` raises it to its caller."""


class TrainingCallback(Protocol):
    """Sees every step and every finished epoch of a training run.

    A method that raises `StopTraining` ends the run in order, its state stored. Any other error ends it at once, and
    leaves the last checkpoint as it is.
    """

    def on_note(self, text: str) -> None:
        """Something that the owner of the run should know."""

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        """A step is done: the `step`-th (from 1) of `steps` of the epoch (from 0) of `epochs`."""

    def on_epoch(self, line: dict[str, Any]) -> None:
        """An epoch is done; its line of train.jsonl."""


class EvaluationCallback(Protocol):
    """Told before and while an evaluation runs."""

    def on_note(self, text: str) -> None:
        """Something that the reader of the numbers should know."""

    def on_forecast(self, seconds: float) -> None:
        """How long it will take, at most."""

    def on_attack(self, name: str, images: int) -> None:
        """An attack begins, with so many images before it."""

    def on_images(self, images: int) -> None:
        """So many more images are attacked."""

    def on_search(self, name: str, images: int, steps: int) -> None:
        """A stepwise attack begins on images that are still right; it has at most `steps` iterations before it."""

    def on_steps(self, left: int, bound: float) -> None:
        """At most so many iterations are left; robust accuracy is at most `bound`, a fraction."""


class DownloadCallback(Protocol):
    """Told how a download goes."""

    def on_note(self, text: str) -> None:
        """Something that the user should know, such as that an address failed."""

    def on_file(self, name: str, size: int, done: int) -> None:
        """A file of `size` bytes begins, of which `done` are here already."""

    def on_bytes(self, count: int) -> None:
        """So many more bytes have come."""


class Silent:
    """Every callback that says nothing; a base for those that want few of the calls."""

    def on_note(self, text: str) -> None: ...
    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None: ...
    def on_epoch(self, line: dict[str, Any]) -> None: ...
    def on_forecast(self, seconds: float) -> None: ...
    def on_attack(self, name: str, images: int) -> None: ...
    def on_images(self, images: int) -> None: ...
    def on_search(self, name: str, images: int, steps: int) -> None: ...
    def on_steps(self, left: int, bound: float) -> None: ...
    def on_file(self, name: str, size: int, done: int) -> None: ...
    def on_bytes(self, count: int) -> None: ...
