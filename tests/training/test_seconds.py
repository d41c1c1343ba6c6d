"""Seconds of an epoch: wall time with the wait for the device, without checkpoints, whole after a resume."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from advdpnp.callbacks import Silent
from advdpnp.runs import Run
from advdpnp.training import fit, step, stopwatch
from advdpnp.training.step import Training
from training.small import StopAt, created, small_task

# Enqueueing a step, its work on the device, a checkpoint, validation.
ENQUEUE, WORK, STORE, VALIDATE = 1.0, 10.0, 1000.0, 500.0
STEPS = 3


class Device:
    """A clock that only moves when work is enqueued, or waited for."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = self.pending = 0.0
        patch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: self.now))
        self._wrap(patch, Training, "advance", self.enqueue)
        self._wrap(patch, Training, "check", self.wait)
        self._wrap(patch, Training, "save", lambda: self.spend(STORE))
        self._wrap(patch, step, "validate", lambda: self.spend(VALIDATE))

    @staticmethod
    def _wrap(patch: pytest.MonkeyPatch, owner: Any, name: str, before: Any) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            before()
            return original(*arguments, **named)

        patch.setattr(owner, name, wrapped)

    def enqueue(self) -> None:
        self.now += ENQUEUE
        self.pending += WORK

    def wait(self) -> None:
        self.now += self.pending
        self.pending = 0.0

    def spend(self, seconds: float) -> None:
        self.wait()
        self.now += seconds


def seconds_of(run: Run) -> list[tuple[float, float]]:
    return [(line["seconds"], line["validation_seconds"]) for line in run.epochs()]


EXPECTED = 2 * [(STEPS * (ENQUEUE + WORK), VALIDATE)]


@pytest.mark.parametrize("checkpoint_seconds", [0, 1e9])
def test_an_epochs_seconds_are_its_work_whatever_is_stored(
    checkpoint_seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Device(monkeypatch)
    run = created(tmp_path)
    fit(small_task(), run, Silent(), resume=False, checkpoint_seconds=checkpoint_seconds)
    assert seconds_of(run) == EXPECTED


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_resumed_epoch_has_the_seconds_of_both_its_halves(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(monkeypatch)
    run = created(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task(), run, StopAt(steps), resume=False, checkpoint_seconds=0)
    # The step after the last checkpoint is lost, and its work with it.
    device.pending = 0.0
    fit(small_task(), run, Silent(), resume=True, checkpoint_seconds=0)
    assert seconds_of(run) == EXPECTED
