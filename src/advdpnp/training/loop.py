"""The training loop. It does not know which defense it runs."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from advdpnp import noise
from advdpnp.capture import cuda_graph
from advdpnp.data import Images, augment
from advdpnp.defenses.base import Batch, Defense
from advdpnp.models.classifier import Classifier
from advdpnp.models.copying import copied
from advdpnp.noise import IndexNoise
from advdpnp.ranges import Integer, check_fields
from advdpnp.runs import Json, Run
from advdpnp.training.averaging import STATISTICS_IMAGES, WeightAverage
from advdpnp.training.crafting import Crafter
from advdpnp.training.guard import FiniteGuard
from advdpnp.training.interrupt import StopTraining, deferred_interrupt
from advdpnp.training.optimizer import ScheduledSGD
from advdpnp.training.recipe import Recipe
from advdpnp.training.schedule import first_epoch
from advdpnp.training.step_graph import StepGraph
from advdpnp.training.stopwatch import Stopwatch
from advdpnp.training.validation import center_statistics, holdout_accuracy
from advdpnp.training.weight_perturbation import weights_perturbed

GUARD_INTERVAL = 50

Losses = Callable[[Batch, Tensor], dict[str, Tensor]]


class Observer(Protocol):
    """Who is told how a run goes; sees every step and every finished epoch.

    A method that raises `StopTraining` ends the run in order, its state stored. Any other error ends it at once, and
    leaves the last checkpoint as it is.
    """

    def on_note(self, text: str) -> None: ...
    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None: ...
    def on_epoch(self, line: Json) -> None: ...


@dataclass(frozen=True)
class Task:
    """What is trained on what.

    Args:
        model: the network that `defense` built, on the device of the images.
        defense: the method.
        recipe: optimization and protocol.
        train: training images.
        holdout: held-out training images, or None.
        seed: seeds order, augmentation and attack noise.
    """

    model: Classifier
    defense: Defense[Any]
    recipe: Recipe
    train: Images
    holdout: Images | None
    seed: Integer

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def batch_size(self) -> int:
        return min(self.recipe.batch_size, len(self.train))

    @property
    def steps_per_epoch(self) -> int:
        # One image has no variance, so a last one alone joins the batch before it.
        whole, rest = divmod(len(self.train), self.batch_size)
        return whole + (rest > 1)

    def batch(self, order: Tensor, step: int) -> Tensor:
        """The images of a step: positions (B,) out of an epoch's order (N,)."""
        begin = step * self.batch_size
        return order[begin : begin + self.batch_size] if step + 1 < self.steps_per_epoch else order[begin:]


class LossModule(nn.Module):
    """`defense.loss` as one forward, so that a compiler or a data-parallel wrapper can take it as it stands."""

    def __init__(self, model: Classifier, defense: Defense[Any], precision: str) -> None:
        super().__init__()
        self.model = model
        self.defense = defense
        self.low_precision = precision == "bf16"

    def forward(self, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        with torch.autocast(x_adv.device.type, torch.bfloat16, enabled=self.low_precision):
            return self.defense.loss(self.model, batch, x_adv)


def make_batch(task: Task, index: Tensor, epoch: int | Tensor, step: int | Tensor) -> Batch:
    """The images at `index`, augmented: a function of (seed, epoch, step, image index) alone."""
    draws = IndexNoise(task.seed, index, epoch)

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        return draws.uniform("augment/" + name, shape)

    pixels = augment(task.train.pixels, index, task.recipe.augmentation, draw)
    x = pixels.to(torch.float32, memory_format=torch.channels_last) / task.train.levels
    return Batch(x, task.train.labels[index], index, task.seed, epoch, step, task.recipe.label_smoothing)


def statistics_batches(task: Task, epoch: int) -> Iterator[Tensor]:
    """Augmented training batches (B, channels, H, W) from which an average's statistics are measured after an epoch.

    They are a function of (seed, epoch) alone.
    """
    # As stored, a batch may hold a single class, as in folders: its variance is not that of the images.
    order = noise.permutation(task.seed, "statistics", epoch, len(task.train), task.train.labels.device)
    for step in range(min(math.ceil(STATISTICS_IMAGES / task.batch_size), task.steps_per_epoch)):
        yield make_batch(task, task.batch(order, step), epoch, 0).x


def check_engine(recipe: Recipe, device: torch.device) -> None:
    """Raise ValueError if the recipe's engine cannot run on the device."""
    if recipe.engine in ("graph", "step") and device.type != "cuda":
        raise ValueError(
            f"recipe.engine={recipe.engine} needs a CUDA device; got {device.type}. Use compiled or folded"
        )
    if recipe.engine == "step" and recipe.cycle_momentum:
        raise ValueError("recipe.engine=step captures one momentum; got recipe.cycle_momentum=true. Use engine=graph")


def check_task(task: Task) -> None:
    """Raise ValueError if the task cannot be trained: an engine that the device lacks, batches without variance."""
    check_engine(task.recipe, task.train.labels.device)
    if task.batch_size > 1:
        return
    x, _ = task.train.batch(torch.zeros(1, dtype=torch.int64, device=task.train.labels.device))
    try:
        with torch.no_grad():
            copied(task.model).train()(x)
    except ValueError as error:
        raise ValueError(
            f"batches of one image cannot train this network ({error}): set recipe.batch_size to 2 or more, with as "
            "many training images"
        ) from None


def _stacked(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values()))


class Training:
    """A run in progress: network, optimizer, place in the schedule, and sums for the log."""

    def __init__(self, task: Task) -> None:
        check_task(task)
        self.task = task
        task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.craft = Crafter(task.model, task.defense, task.recipe, (task.batch_size, *task.train.pixels.shape[1:]))
        self.losses: Losses = LossModule(task.model, task.defense, task.recipe.precision)
        compiles = task.recipe.compiles
        self._static_losses: Losses = torch.compile(self.losses, dynamic=False) if compiles else self.losses
        total_steps = task.recipe.epochs * task.steps_per_epoch
        self._sgd = ScheduledSGD(task.defense.param_groups(task.model), task.recipe, total_steps)
        self.optimizer = self._sgd.sgd
        if task.recipe.engine == "step":
            self._sgd.rates_in_tensors(task.train.labels.device)
        self._graphs: dict[float, StepGraph] = {}
        self._average = WeightAverage(task.model, task.defense, task.recipe.averaging, task.recipe.epochs)
        self._evaluated = task.model
        self.epoch = self.step = 0
        self.clock = Stopwatch()
        self.terms: list[str] = []
        self.sums: Tensor | None = None
        self.best: tuple[float, float, int] | None = None
        self.best_weights: dict[str, Tensor] | None = None
        self.guard = FiniteGuard(task.train.labels.device)

    def state(self) -> Json:
        """Everything that a bit-identical continuation needs."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.clock.seconds,
            "model": self.task.model.state_dict(),
            "optimizer": self._sgd.state(),
            "average": self._average.state(),
            "terms": self.terms,
            "sums": self.sums,
            "best": self.best,
        }

    def restore(self, state: Json) -> None:
        """Continue from what `state` returned."""
        self.task.model.load_state_dict(state["model"])
        self._sgd.restore(state["optimizer"])
        if "average" in state:
            self._average.restore(state["average"])
        self.epoch, self.step, self.clock.seconds = state["epoch"], state["step"], state["seconds"]
        self.terms, self.sums = state["terms"], state["sums"]
        if self.sums is not None:
            self.sums = self.sums.to(self.task.train.labels.device)
        self.best = state["best"] and tuple(state["best"])

    def advance(self, order: Tensor) -> None:
        """One optimizer step on the next batch of the epoch's order."""
        index = self.task.batch(order, self.step)
        done = self.epoch * self.task.steps_per_epoch + self.step
        self._sgd.schedule(done)
        # Graphs have static shapes: a last batch of another size goes the ordinary way.
        captured = self.task.recipe.engine == "step" and len(index) == self.task.batch_size
        values = (self._graph() if captured else self._update)(index, self.epoch, self.step)
        self._average.after_step(self.epoch)
        self.guard.watch(values, done)
        weighted = values.double() * len(index)
        self.sums = weighted if self.sums is None else self.sums + weighted
        self.step += 1

    @property
    def _gamma(self) -> float:
        """Weight perturbation in the epoch that runs."""
        perturbation = self.task.recipe.weight_perturbation
        begun = self.epoch >= first_epoch(perturbation.start, self.task.recipe.epochs)
        return perturbation.gamma if begun else 0.0

    def _graph(self) -> StepGraph:
        """The captured step, one with and one without weight perturbation."""
        if self._gamma not in self._graphs:
            self._graphs[self._gamma] = StepGraph(self._update, self.task.model, self.optimizer, cuda_graph)
        return self._graphs[self._gamma]

    def _update(self, index: Tensor, epoch: int | Tensor, step: int | Tensor) -> Tensor:
        """Craft, differentiate, step; returns the weighted loss terms, (T,) detached."""
        task = self.task
        losses = self._static_losses if len(index) == task.batch_size else self.losses
        batch = make_batch(task, index, epoch, step)
        x_adv = self.craft(batch)
        self.optimizer.zero_grad(set_to_none=True)
        with weights_perturbed(task.model, self._gamma, lambda: _stacked(losses(batch, x_adv)).sum()):
            terms = losses(batch, x_adv)
            self.terms, values = list(terms), _stacked(terms)
            torch.autograd.backward(values.sum())
        self.optimizer.step()
        task.defense.between_steps(task.model)
        return values.detach()

    def _mean_losses(self) -> dict[str, float]:
        assert self.sums is not None
        means = (self.sums / len(self.task.train)).tolist()
        return {"total": sum(means), **dict(zip(self.terms, means, strict=True))}

    def finish_epoch(self) -> Json:
        """Renormalize, validate, and return the epoch's line for the log."""
        task = self.task
        validation = Stopwatch()
        validation.start()
        centers = center_statistics(task.model)
        task.defense.between_epochs(task.model, self.epoch + 1)
        self._average.after_epoch(self.epoch)
        if task.holdout or self.epoch + 1 == task.recipe.epochs:
            self._evaluated = self._average.network(lambda: statistics_batches(task, self.epoch))
        holdout = task.holdout and holdout_accuracy(self._evaluated, task.holdout, task.recipe.attack, task.batch_size)
        if holdout:
            self._keep_best(holdout["robust_accuracy"], holdout["clean_accuracy"])
        line = {
            "epoch": self.epoch + 1,
            "epochs": task.recipe.epochs,
            "steps": task.steps_per_epoch,
            "lr": self._sgd.rate,
            "seconds": round(self.clock.seconds, 3),
            "validation_seconds": round(validation.stop(), 3),
            "loss": self._mean_losses(),
            "centers": centers,
            "holdout": holdout,
        }
        self.epoch, self.step, self.clock, self.sums = self.epoch + 1, 0, Stopwatch(), None
        return line

    def _keep_best(self, robust: float, clean: float) -> None:
        if self.best is None or (robust, clean) > self.best[:2]:
            self.best = (robust, clean, self.epoch + 1)
            self.best_weights = {name: value.clone() for name, value in self._evaluated.state_dict().items()}

    def check(self) -> None:
        """Raise NonFiniteLossError if a loss was not finite; the host waits for the device."""
        self.guard.check_losses(self.terms, self.task.steps_per_epoch)

    def save(self, run: Run, final: bool) -> None:
        """Write a checkpoint, if everything is finite."""
        self.check()
        self.guard.check_weights(self.task.model)
        if self.best is not None and self.best_weights is not None:
            run.write_weights("best", self.best_weights, self.best[2])
            self.best_weights = None
        if final:
            run.write_weights("last", self._evaluated.state_dict(), self.epoch)
        run.write_state(self.state())


def fit(task: Task, run: Run, observer: Observer, resume: bool, checkpoint_seconds: float = 60.0) -> None:
    """Train, or continue, until the recipe's last epoch.

    Args:
        task: what is trained on what.
        run: the folder, already claimed for this experiment.
        observer: told of every step and epoch.
        resume: continue from the stored state where there is one.
        checkpoint_seconds: a checkpoint is written when the last one is older than this, mid-epoch too, and at the end.
    Raises:
        NonFiniteLossError: a loss or weight is NaN or infinite; the last good checkpoint is kept.
        KeyboardInterrupt: Ctrl-C was pressed; the step in progress is finished and the state stored.
        StopTraining: the observer's, likewise once the state is stored. A run that is finished with it just returns.
    """
    training = Training(task)
    if resume and run.state_path.exists():
        training.restore(run.read_state())
    else:
        task.defense.between_epochs(task.model, 0)
    run.keep_epochs(training.epoch)
    observer.on_note(training.craft.note())
    task.model.train()
    with deferred_interrupt() as interrupted:
        due = _Due(checkpoint_seconds, interrupted)
        while training.epoch < task.recipe.epochs:
            _train_epoch(training, observer, run, due)
            line = training.finish_epoch()
            run.append_epoch(line)
            due.tell(observer.on_epoch, line)
            if training.epoch == task.recipe.epochs:
                training.save(run, final=True)
            elif due():
                _checkpoint(training, observer, run, due)


def _train_epoch(training: Training, observer: Observer, run: Run, due: "_Due") -> None:
    task = training.task
    order = noise.permutation(task.seed, "order", training.epoch, len(task.train), task.train.labels.device)
    training.clock.start()
    while training.step < task.steps_per_epoch:
        training.advance(order)
        due.tell(observer.on_step, training.epoch, training.step, task.steps_per_epoch, task.recipe.epochs)
        if training.step % GUARD_INTERVAL == 0:
            training.check()
        if due():
            _stop_clock(training)
            _checkpoint(training, observer, run, due)
            training.clock.start()
    _stop_clock(training)


def _stop_clock(training: Training) -> None:
    # A GPU's work is only enqueued when `advance` returns: the check waits for it.
    training.check()
    training.clock.stop()


def _checkpoint(training: Training, observer: Observer, run: Run, due: "_Due") -> None:
    training.save(run, final=False)
    if (stop := due.stop) is not None:
        observer.on_note(f"stored after epoch {training.epoch}, step {training.step}")
        raise stop


class _Due:
    """Says whether it is time for a checkpoint: `seconds` have passed since the last one, or the run is to stop."""

    def __init__(self, seconds: float, interrupted: Callable[[], bool]) -> None:
        self._seconds, self._last, self._interrupted = seconds, time.monotonic(), interrupted
        self._told: StopTraining | None = None

    def tell(self, listener: Callable[..., None], *what: object) -> None:
        """Tell the observer, and remember if it wants to stop."""
        try:
            listener(*what)
        except StopTraining as stop:
            self._told = stop

    @property
    def stop(self) -> BaseException | None:
        """What ends the run after the next checkpoint: the observer's wish, or Ctrl-C."""
        return self._told or (KeyboardInterrupt() if self._interrupted() else None)

    def __call__(self) -> bool:
        if time.monotonic() - self._last < self._seconds and self.stop is None:
            return False
        self._last = time.monotonic()
        return True
