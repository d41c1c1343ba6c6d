"""The training loop: epochs, checkpoints, interruptions. It does not know which defense it runs."""

import time
from collections.abc import Callable

from advdpnp import noise
from advdpnp.callbacks import StopTraining, TrainingCallback, TrainingViewer
from advdpnp.runs import Run
from advdpnp.signals import deferred_interrupt
from advdpnp.training.step import Task, Training

CHECK_INTERVAL = 50


def fit(task: Task, run: Run, callback: TrainingCallback, resume: bool, checkpoint_seconds: float = 60.0) -> None:
    """Train, or continue, until the recipe's last epoch.

    Args:
        task: what is trained on what.
        run: the folder, made for this experiment.
        callback: told of every step and epoch.
        resume: continue from the stored state where there is one.
        checkpoint_seconds: a checkpoint is written when the last one is older than this, mid-epoch too, and at the end.
    Raises:
        NonFiniteLossError: a loss or weight is NaN or infinite; the last good checkpoint is kept.
        KeyboardInterrupt: Ctrl-C, or another signal that asks to end; the step is finished and the state stored.
        StopTraining: the callback's, likewise once the state is stored. A run that is finished with it just returns.
    """
    training = Training(task)
    if resume and run.state_path.exists():
        training.restore(run.read_state())
    else:
        task.defense.between_epochs(task.model, 0)
    if (logged := len(run.epochs())) < training.epoch:
        lost = f"{run.log_path} holds {logged} of {training.epoch} epochs: the curves of the others are lost"
        callback.on_note(f"{lost}, and the weights are not")
    run.keep_epochs(training.epoch)
    for note in training.notes():
        callback.on_note(note)
    task.model.train()
    with deferred_interrupt() as interrupted:
        due = _Due(checkpoint_seconds, interrupted)
        while training.epoch < task.recipe.epochs:
            _train_epoch(training, callback, run, due)
            line = training.finish_epoch()
            run.append_epoch(line)
            if isinstance(callback, TrainingViewer):
                callback.on_view(training.distributions, training.images)
            due.tell(callback.on_epoch, line)
            if training.epoch == task.recipe.epochs:
                training.save(run, final=True)
                if (warning := training.warning()) is not None:
                    callback.on_note(warning)
            elif due():
                _checkpoint(training, callback, run, due)


def _train_epoch(training: Training, callback: TrainingCallback, run: Run, due: "_Due") -> None:
    task = training.task
    order = noise.permutation(task.seed, "order", training.epoch, len(task.train), task.train.labels.device)
    training.clock.start()
    while training.step < task.steps_per_epoch:
        training.advance(order)
        due.tell(callback.on_step, training.epoch, training.step, task.steps_per_epoch, task.recipe.epochs)
        if training.step % CHECK_INTERVAL == 0:
            training.check()
        if due():
            _stop_clock(training)
            _checkpoint(training, callback, run, due)
            training.clock.start()
    _stop_clock(training)


def _stop_clock(training: Training) -> None:
    # A GPU's work is only enqueued when `advance` returns: the check waits for it.
    training.check()
    training.clock.stop()


def _checkpoint(training: Training, callback: TrainingCallback, run: Run, due: "_Due") -> None:
    training.save(run, final=False)
    if (stop := due.stop) is not None:
        callback.on_note(f"stored after epoch {training.epoch}, step {training.step}")
        raise stop


class _Due:
    """Says whether it is time for a checkpoint: `seconds` have passed since the last one, or the run is to stop."""

    def __init__(self, seconds: float, interrupted: Callable[[], KeyboardInterrupt | None]) -> None:
        self._seconds, self._last, self._interrupted = seconds, time.monotonic(), interrupted
        self._told: StopTraining | None = None

    def tell(self, callback: Callable[..., None], *what: object) -> None:
        """Tell the callback, and remember if it wants to stop."""
        try:
            callback(*what)
        except StopTraining as stop:
            self._told = stop

    @property
    def stop(self) -> BaseException | None:
        """What ends the run after the next checkpoint: the callback's wish, or a signal."""
        return self._told or self._interrupted()

    def __call__(self) -> bool:
        if time.monotonic() - self._last < self._seconds and self.stop is None:
            return False
        self._last = time.monotonic()
        return True
