"""A training is followed by loggers: each epoch is logged once, and what fails stops no training."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from advdpnp.callbacks import TrainingCallback, TrainingViewer
from advdpnp.loggers.entries import entry_of
from advdpnp.loggers.logger import LoggedRun, Logger, LogPlace
from advdpnp.runs import Json, Run, read_json, write_json
from advdpnp.stored_values import check_value

Shown = Mapping[str, Any]


class _Place(TypedDict, total=False):
    identity: str
    epochs: int


_NOTHING: Shown = {}


@contextlib.contextmanager
def following(
    callback: TrainingCallback, run: Run, loggers: Sequence[Logger], images: int
) -> Iterator[TrainingCallback]:
    """The callback for `fit` that passes all calls on to another one, and logs.

    Epochs that train.jsonl has and a log lacks are logged first: of a resumed run, or one that had no logger before.

    Args:
        callback: the other one; it is told where logs are, and in one line of every logger that fails.
        run: whose folder is made already.
        loggers: each is left out once one of its methods has raised an error.
        images: how many the training has.
    """
    if not loggers:
        yield callback
        return
    followed = _Followed(callback, run, loggers, images)
    finished = False
    try:
        yield followed
        finished = True
    finally:
        followed.close(finished)


class _Followed:
    def __init__(self, callback: TrainingCallback, run: Run, loggers: Sequence[Logger], images: int) -> None:
        self._callback, self._run, self._images = callback, run, images
        self._loggers = list(loggers)
        self._places: dict[str, LogPlace] = {}
        self._view = _NOTHING, _NOTHING
        self._begun = False

    def on_note(self, text: str) -> None:
        self._callback.on_note(text)

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        self._begin_once()
        self._callback.on_step(epoch, step, steps, epochs)

    def on_view(self, distributions: Shown, images: Shown) -> None:
        self._begin_once()
        self._view = distributions, images
        if isinstance(self._callback, TrainingViewer):
            self._callback.on_view(distributions, images)

    def on_epoch(self, line: Json) -> None:
        try:
            self._callback.on_epoch(line)
        finally:
            # An epoch is logged even if the other callback ends the training with it.
            self._log(line, *self._view)

    def close(self, finished: bool) -> None:
        if finished:
            self._begin_once()
        if self._begun:
            self._each(lambda logger: logger.close(finished))

    def _begin_once(self) -> None:
        """Begin all logs, with the epochs that are done; only now, when the run's own files have turned out whole."""
        if self._begun:
            return
        self._begun = True
        done = self._run.epochs()
        self._each(self._begin)
        for line in done:
            self._log(line)

    def _begin(self, logger: Logger) -> None:
        place = logger.begin(LoggedRun(self._run.folder, self._run.config()), self._remembered(logger.name))
        self._remember(logger, place)
        self._callback.on_note(f"logging to {logger.name}: {place.identity}")

    def _log(
        self, line: Json, distributions: Mapping[str, Any] = _NOTHING, images: Mapping[str, Any] = _NOTHING
    ) -> None:
        def log(logger: Logger) -> None:
            place, epoch = self._places[logger.name], line["epoch"]
            if epoch > place.epochs:
                logger.log(entry_of(line, self._images, distributions, images))
                self._remember(logger, LogPlace(place.identity, epoch))

        self._each(log)

    def _each(self, act: Callable[[Logger], None]) -> None:
        """Let all loggers do something, and leave out those that fail."""
        for logger in list(self._loggers):
            try:
                act(logger)
            except Exception as error:
                self._loggers.remove(logger)
                what = " ".join(str(error).split()) or type(error).__name__
                self._callback.on_note(
                    f"warning: logging to {logger.name} failed ({what}); the training goes on without it, and --resume "
                    "logs what is missing"
                )

    def _remembered(self, name: str) -> LogPlace:
        path = self._run.loggers_path
        stored = read_json(path).get(name, {}) if path.is_file() else {}
        check_value(f"{path}: {name}", stored, _Place)
        place, most = LogPlace(**stored), self._run.config()["recipe"]["epochs"]
        if not 0 <= place.epochs <= most:
            raise ValueError(f"{path}: {name} has {place.epochs} epochs; expected at most {most}: remove this file")
        return place

    def _remember(self, logger: Logger, place: LogPlace) -> None:
        self._places[logger.name] = place
        path = self._run.loggers_path
        others = read_json(path) if path.is_file() else {}
        write_json(path, others | {logger.name: vars(place)})
