"""Callbacks: methods that training, an evaluation or a download calls as it proceeds."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


class StopTraining(Exception):
    """Raised by a callback, in `on_step` or `on_epoch`: the state is stored, then `fit` raises it to its caller."""


class TrainingCallback(Protocol):
    """Called after every step and every epoch of training.

    A method that raises `StopTraining` ends training after its state is stored. Any other error ends it at once, and
    the last checkpoint stays as it is.
    """

    def on_note(self, text: str) -> None:
        """A message for the user."""

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        """Step `step` (from 1) of `steps` is done, in epoch `epoch` (from 0) of `epochs`."""

    def on_epoch(self, line: dict[str, Any]) -> None:
        """An epoch is done; `line` is its line of train.jsonl."""


@runtime_checkable
class TrainingViewer(Protocol):
    """A callback of a training that has this method too is shown, after each epoch, what no line of a log holds."""

    def on_view(self, distributions: Mapping[str, Any], images: Mapping[str, Any]) -> None:
        """Called before `on_epoch`, with tensors on the device of the training.

        Args:
            distributions: one-dimensional, by name: "centers/norm", "centers/cosine", and of held-out images
                "holdout/margin_clean" and "holdout/margin_robust".
            images: "clean" and "adversarial", (S, channels, H, W) in [0, 1]; empty without held-out images.
        """


class EvaluationCallback(Protocol):
    """Called before and during an evaluation."""

    def on_note(self, text: str) -> None:
        """A message for the user, such as one that limits what the numbers mean."""

    def on_forecast(self, seconds: float) -> None:
        """The evaluation will take at most about so many seconds."""

    def on_attack(self, name: str, images: int) -> None:
        """An attack on `images` images begins."""

    def on_images(self, images: int) -> None:
        """The attack is done with `images` more images."""

    def on_search(self, name: str, images: int, steps: int) -> None:
        """A stepwise attack begins on `images` still correctly classified images; it has at most `steps` iterations."""

    def on_steps(self, left: int, bound: float) -> None:
        """At most `left` iterations are left; the robust accuracy is at most `bound`, in [0, 1]."""


class DownloadCallback(Protocol):
    """Called during a download."""

    def on_note(self, text: str) -> None:
        """A message for the user, such as that an address failed."""

    def on_file(self, name: str, size: int, done: int) -> None:
        """The download of a file of `size` bytes begins, of which `done` are on disk already."""

    def on_bytes(self, count: int) -> None:
        """`count` more bytes have come."""


class Silent:
    """Does nothing on every call; a base class for callbacks that need only some of them."""

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
