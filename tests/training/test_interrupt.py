"""Ctrl-C: the step in progress ends, its state is stored, and the person is told how to go on."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import warm
from advdpnp.callbacks import Silent
from advdpnp.signals import deferred_interrupt
from advdpnp.training import StopTraining, fit
from training.small import created, small_task, trained


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    """As in a terminal: what a shell starts in the background ignores Ctrl-C, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class PressAt(Silent):
    """Sends Ctrl-C after some steps, and keeps the notes."""

    def __init__(self, steps: int) -> None:
        self._left, self.notes = steps, ""

    def on_note(self, text: str) -> None:
        self.notes += text + "\n"

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("steps", "place"), [(2, "epoch 0, step 2"), (3, "epoch 0, step 3"), (4, "epoch 1, step 1")])
def test_the_state_is_stored_at_once_and_resume_is_bitwise(steps: int, place: str, tmp_path: Path) -> None:
    whole = trained(tmp_path, small_task(), created(tmp_path / "whole"))
    run, callback = created(tmp_path / "interrupted"), PressAt(steps)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task(), run, callback, resume=False, checkpoint_seconds=1e9)
    assert f"stored after {place}" in callback.notes
    resumed = trained(tmp_path, small_task(), run, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


class OutOfTimeError(StopTraining):
    """A stop of the callback's own."""


class StopIn(Silent):
    """Raises an error in its n-th call of one method."""

    def __init__(self, method: str, calls: int, error: Exception) -> None:
        self._left, self._error, self.notes = calls, error, ""
        setattr(self, method, self._count)

    def on_note(self, text: str) -> None:
        self.notes += text + "\n"

    def _count(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            raise self._error


@pytest.mark.parametrize(
    ("method", "calls", "place"),
    [
        ("on_step", 2, "epoch 0, step 2"),
        ("on_step", 3, "epoch 0, step 3"),
        ("on_epoch", 1, "epoch 1, step 0"),
        ("on_step", 4, "epoch 1, step 1"),
    ],
)
def test_an_observer_stops_a_run_in_order_and_its_error_comes_through(
    method: str, calls: int, place: str, tmp_path: Path
) -> None:
    whole = trained(tmp_path, small_task(), created(tmp_path / "whole"))
    run, callback = created(tmp_path / "stopped"), StopIn(method, calls, OutOfTimeError("time is up"))
    with pytest.raises(OutOfTimeError, match="time is up"):
        fit(small_task(), run, callback, resume=False, checkpoint_seconds=1e9)
    assert f"stored after {place}" in callback.notes
    assert (run.read_state()["epoch"], run.read_state()["step"]) == tuple(
        int(word) for word in place.replace(",", "").split() if word.isdigit()
    )
    resumed = trained(tmp_path, small_task(), run, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_that_is_finished_when_it_is_stopped_is_finished(tmp_path: Path) -> None:
    run = created(tmp_path)
    fit(small_task(), run, StopIn("on_epoch", 2, StopTraining()), resume=False, checkpoint_seconds=1e9)
    assert run.weights_path("last").is_file() and len(run.epochs()) == 2


@pytest.mark.parametrize("method, calls", [("on_step", 2), ("on_epoch", 1), ("on_step", 4)])
def test_any_other_error_of_an_observer_leaves_the_last_checkpoint_whole(
    method: str, calls: int, tmp_path: Path
) -> None:
    whole = trained(tmp_path, small_task(), created(tmp_path / "whole"))
    run = created(tmp_path / "broken")
    with pytest.raises(RuntimeError, match="disk of the log is full"):
        error = RuntimeError("disk of the log is full")
        fit(small_task(), run, StopIn(method, calls, error), resume=False, checkpoint_seconds=0)
    resumed = trained(tmp_path, small_task(), run, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_after_the_run_ctrl_c_is_what_it_was() -> None:
    with deferred_interrupt() as pressed:
        os.kill(os.getpid(), signal.SIGINT)
        assert pressed()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_thread_or_a_handler_of_the_caller_is_left_alone() -> None:
    def other(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGINT, other)
    try:
        with deferred_interrupt() as pressed:
            assert signal.getsignal(signal.SIGINT) is other and not pressed()
    finally:
        signal.signal(signal.SIGINT, before)
    seen: list[object] = []

    def work() -> None:
        with deferred_interrupt() as pressed:
            seen.append(pressed())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]


def test_a_run_whose_log_is_gone_goes_on_and_says_so(tmp_path: Path) -> None:
    whole = trained(tmp_path, small_task(), created(tmp_path / "whole"))
    run, callback = created(tmp_path / "interrupted"), PressAt(4)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task(), run, callback, resume=False, checkpoint_seconds=1e9)
    run.log_path.unlink()
    fit(small_task(), run, callback, resume=True)
    assert "holds 0 of 1 epochs: the curves of the others are lost" in callback.notes
    weights, _ = run.read_weights("last")
    assert all(torch.equal(whole[name], weights[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_that_is_named_goes_on(number: int, status: int, tmp_path: Path) -> None:
    # Some seconds of work, so that a signal after the first epoch finds most of it ahead.
    quick = ("recipe.epochs=20", "recipe.train_images=160", "recipe.holdout=20", "recipe.attack.steps=2")
    settings = [word for setting in quick for word in ("--set", setting)]
    arguments = ["train", "digits/tiny/at", "--threads", "1", "--out", "my runs", *settings]
    command = [sys.executable, "-m", "advdpnp", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stderr is not None
    while "epoch   1/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == status
    (line,) = [line for line in told.splitlines() if line.startswith("advdpnp: ")]
    again = shlex.split(line.partition("go on with: ")[2])
    assert again == ["advdpnp", *arguments, "--resume"]
    done = warm.run(["-m", "advdpnp", *again[1:]], cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "my runs/digits/tiny/at/seed-0/checkpoints/last.safetensors").exists()
