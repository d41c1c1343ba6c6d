"""The training loop: epochs, checkpoints, interruptions. It does not know which defense it runs."""

import signal
import time
from collections.abc import Callable, Sequence

from advdpnp import noise
from advdpnp.callbacks import StopTraining, TrainingCallback, TrainingViewer
from advdpnp.runs import Run
from advdpnp.signals import Terminated, deferred_interrupt
from advdpnp.training.distributed import ALONE, World
from advdpnp.training.step import Task, Training

CHECK_INTERVAL = 50


def fit(
    task: Task,
    run: Run | None,
    callback: TrainingCallback,
    resume: bool,
    checkpoint_seconds: float = 60.0,
    world: World = ALONE,
) -> None:
    """Train, or continue, until the recipe's last epoch.

    Args:
        task: what is trained on what.
        run: the folder, made for this experiment; None on ranks that write nothing, which are all but the first.
        callback: told of every step and epoch.
        resume: continue from the stored state where there is one.
        checkpoint_seconds: a checkpoint is written when the last one is older than this, mid-epoch too, and at the end.
        world: the ranks that train together, all of which call this.
    Raises:
        NonFiniteLossError: a loss or weight is NaN or infinite; the last good checkpoint is kept.
        KeyboardInterrupt: Ctrl-C, or another signal that asks to end; the step is finished and the state stored. It
            may have come to another rank: all end after the same step.
        StopTraining: the callback's, likewise once the state is stored. A run that is finished with it just returns.
    """
    training = Training(task, world)
    state = world.told(run.read_state() if run is not None and resume and run.state_path.exists() else None)
    if state is not None:
        training.restore(state)
    else:
        task.defense.between_epochs(task.model, 0)
    if run is not None:
        _match_weights(run, training, callback)
        _match_log(run, training, callback)
    for note in training.notes():
        callback.on_note(note)
    task.model.train()
    with deferred_interrupt() as interrupted:
        due = _Due(checkpoint_seconds, interrupted, training)
        while training.epoch < task.recipe.epochs:
            _train_epoch(training, callback, run, due)
            line = training.finish_epoch()
            if run is not None:
                run.append_epoch(line)
            if unlike := world.make_equal(task.model.state_dict()):
                callback.on_note(_unlike_text(unlike))
            if isinstance(callback, TrainingViewer):
                callback.on_view(training.distributions, training.images)
            due.tell(callback.on_epoch, line)
            if training.epoch == task.recipe.epochs:
                training.save(run, final=True)
                if (warning := training.warning()) is not None:
                    callback.on_note(warning)
            elif due.after_epoch():
                _checkpoint(training, callback, run, due)


def _match_weights(run: Run, training: Training, callback: TrainingCallback) -> None:
    """The weights that the state speaks of must be there; those of the end are in the state, and are written anew."""
    _, _, best_epoch = training.state()["best"] or (0.0, 0.0, 0)
    if best_epoch and (problem := weights_problem(run, "best", best_epoch)):
        raise ValueError(
            f"{run.weights_path('best')} {problem}, and has the best weights so far, which no state holds: put it back "
            f"from a copy, or remove {run.state_path} to start this run again from its beginning"
        )
    last = training.task.recipe.epochs
    if training.epoch == last and (problem := weights_problem(run, "last", last)):
        training.write_last_again(run)
        callback.on_note(f"{run.weights_path('last')} {problem}: written anew, from {run.state_path.name}")


def weights_problem(run: Run, which: str, epochs: int) -> str:
    """What is wrong with stored weights that were trained for so many epochs or, after a kill, more; "" if nothing."""
    if not run.weights_path(which).is_file():
        return "is not there"
    try:
        _, found = run.read_weights(which)
    except ValueError:
        return "is damaged, or of another experiment"
    return "" if found >= epochs else f"is of epoch {found}, not {epochs}"


def _match_log(run: Run, training: Training, callback: TrainingCallback) -> None:
    """Leave in train.jsonl the epochs that the state has done."""
    if (logged := len(run.epochs())) < training.epoch:
        lost = f"{run.log_path} holds {logged} of {training.epoch} epochs: the curves of the others are lost"
        callback.on_note(f"{lost}, and the weights are not")
    run.keep_epochs(training.epoch)


def _unlike_text(names: Sequence[str]) -> str:
    return (
        f"warning: {names[0]} was not equal on all ranks ({len(names)} such tensors), and is that of rank 0 now: a "
        "buffer that batches change belongs in `summed_buffers` of the network, and machines must be of one kind"
    )


def _train_epoch(training: Training, callback: TrainingCallback, run: Run | None, due: "_Due") -> None:
    task = training.task
    order = noise.permutation(task.seed, "order", training.epoch, len(task.train), task.train.labels.device)
    training.clock.start()
    while training.step < task.steps_per_epoch:
        due.vote()
        training.advance(order)
        due.tell(callback.on_step, training.epoch, training.step, task.steps_per_epoch, task.recipe.epochs)
        if training.step % CHECK_INTERVAL == 0:
            training.check()
        if due.after_step():
            _stop_clock(training)
            _checkpoint(training, callback, run, due)
            training.clock.start()
    _stop_clock(training)


def _stop_clock(training: Training) -> None:
    # A GPU's work is only enqueued when `advance` returns: the check waits for it.
    training.check()
    training.clock.stop()


def _checkpoint(training: Training, callback: TrainingCallback, run: Run | None, due: "_Due") -> None:
    training.save(run, final=False)
    if (stop := due.stop) is not None:
        callback.on_note(f"stored after epoch {training.epoch}, step {training.step}")
        raise stop


class _Due:
    """Says whether it is time for a checkpoint: `seconds` have passed since the last one, or the run is to stop.

    Several ranks agree on it: their votes go with the gradient of a step, so that after it all know the same. Rank 0
    keeps the time.
    """

    def __init__(self, seconds: float, interrupted: Callable[[], KeyboardInterrupt | None], training: Training) -> None:
        self._seconds, self._last, self._interrupted = seconds, time.monotonic(), interrupted
        self._world, self._ranks = training.world, training.ranks
        self._told: StopTraining | None = None
        self._agreed: BaseException | None = None
        self._asked = False

    def tell(self, callback: Callable[..., None], *what: object) -> None:
        """Tell the callback, and remember if it wants to stop."""
        try:
            callback(*what)
        except StopTraining as stop:
            self._told = stop

    @property
    def stop(self) -> BaseException | None:
        """What ends the run after the next checkpoint: the callback's wish, or a signal; to this rank, or another.

        Of several ranks none ends before all know of it.
        """
        here = self._told or self._interrupted()
        return here if self._ranks is None else self._agreed and (here or self._agreed)

    def vote(self) -> None:
        """Before a step, on several ranks: what this one wants to be done after it."""
        if self._ranks is not None:
            self._ranks.votes = self._votes()

    def after_step(self) -> bool:
        """Whether a checkpoint is due after a step."""
        return self._is_due_here() if self._ranks is None else self._is_due(self._ranks.agreed)

    def after_epoch(self) -> bool:
        """Whether one is due after an epoch."""
        return self._is_due_here() if self._ranks is None else self._is_due(self._world.agreed(self._votes()))

    def _is_due_here(self) -> bool:
        if not self._time_is_up() and self.stop is None:
            return False
        self._last = time.monotonic()
        return True

    def _time_is_up(self) -> bool:
        return time.monotonic() - self._last >= self._seconds

    def _votes(self) -> list[bool]:
        # Votes come a step late from a GPU, so one that has been given is not given again.
        store = self._world.leads and self._time_is_up() and not self._asked
        self._asked |= store
        return [store, self._interrupted() is not None, self._told is not None]

    def _is_due(self, votes: Sequence[bool]) -> bool:
        store, interrupted, told = votes
        if not (store or interrupted or told):
            return False
        if interrupted:
            self._agreed = Terminated(signal.SIGTERM)
        elif told:
            self._agreed = StopTraining()
        self._last, self._asked = time.monotonic(), False
        return True
