"""One step of training: the batch, the attack, the losses, the optimizer; and the state that steps change."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp import noise
from advdpnp.cuda_graphs import cuda_graph
from advdpnp.data import Images, augment
from advdpnp.defenses.base import Batch, Defense
from advdpnp.models.classifier import Classifier
from advdpnp.models.copying import copied
from advdpnp.noise import IndexNoise
from advdpnp.ranges import Integer, check_fields
from advdpnp.runs import Json, Run
from advdpnp.training.averaging import STATISTICS_IMAGES, WeightAverage, batch_norms, measure_statistics
from advdpnp.training.batch_statistics import LOOK_IMAGES, averages_settle, disagreement_text, two_accuracies
from advdpnp.training.crafting import Crafter
from advdpnp.training.data_parallel import RankGradients, check_ranks
from advdpnp.training.distributed import ALONE, RankPart, World
from advdpnp.training.finite_check import FiniteCheck
from advdpnp.training.optimizer import ScheduledSGD, first_epoch
from advdpnp.training.recipe import Recipe
from advdpnp.training.step_graph import StepGraph
from advdpnp.training.stopwatch import Stopwatch
from advdpnp.training.stored_state import check_state, same_terms
from advdpnp.training.validation import center_distributions, center_statistics, validate
from advdpnp.training.weight_perturbation import weights_perturbed

Losses = Callable[[Batch, Tensor], dict[str, Tensor]]


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

    @cached_property
    def batch_size(self) -> int:
        return min(self.recipe.batch_size, len(self.train))

    @cached_property
    def steps_per_epoch(self) -> int:
        # One image has no variance, so a last one alone joins the batch before it.
        whole, rest = divmod(len(self.train), self.batch_size)
        return whole + (rest > 1)

    @property
    def smallest_batch(self) -> int:
        """Images of an epoch's smallest batch."""
        return min(self.batch_size, len(self.train) - (self.steps_per_epoch - 1) * self.batch_size)

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


@cache
def _batch_of_compiled_losses() -> type[Batch]:
    """A batch whose draws the compiler leaves alone; what it traced of them would be compiled anew in each epoch."""
    draw = torch.compiler.disable(Batch.draw)  # type: ignore[no-untyped-call]
    return type("UncompiledDraws", (Batch,), {"draw": draw})


def statistics_batches(task: Task, epoch: int) -> Iterator[Tensor]:
    """Augmented training batches (B, channels, H, W) from which BatchNorm's statistics are measured after an epoch.

    They are a function of (seed, epoch) alone.
    """
    return (batch.x for batch in mixed_batches(task, epoch, STATISTICS_IMAGES))


def mixed_batches(task: Task, epoch: int, images: int) -> Iterator[Batch]:
    """Augmented training batches in an order of their own, of about so many images at most."""
    # As stored, a batch may hold a single class, as in folders: its variance is not that of the images.
    order = noise.permutation(task.seed, "statistics", epoch, len(task.train), task.train.labels.device)
    for step in range(min(math.ceil(images / task.batch_size), task.steps_per_epoch)):
        yield make_batch(task, task.batch(order, step), epoch, 0)


def check_engine(recipe: Recipe, device: torch.device) -> None:
    """Raise ValueError if the recipe's engine cannot run on the device."""
    if recipe.engine in ("graph", "step") and device.type != "cuda":
        raise ValueError(
            f"recipe.engine={recipe.engine} needs a CUDA device; got {device.type}. Use compiled or folded"
        )
    if recipe.engine == "step" and recipe.cycle_momentum:
        raise ValueError("recipe.engine=step captures one momentum; got recipe.cycle_momentum=true. Use engine=graph")


def check_task(task: Task, world: World = ALONE) -> None:
    """Raise ValueError if the task cannot be trained: an engine that the device lacks, batches without variance."""
    check_engine(task.recipe, task.train.labels.device)
    check_ranks(task.recipe, task.train.labels.device, world, task.smallest_batch)
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
    """A run in progress.

    Args:
        task: what is trained on what.
        world: the ranks that train it together.
    Attributes:
        ranks: how a step is made on several ranks; None on one.
        epoch, step: epochs that are done, and steps of the one that runs.
        clock: time of the epoch that runs.
        craft: the inner attack, Batch -> (B, channels, H, W).
        losses: the weighted loss terms of a batch and its adversarial images, by name.
        optimizer: SGD on the defense's parameter groups.
        terms: names of the loss terms, in order, once a step is done.
        sums: (T,) float64, each term summed over the images of the epoch so far; None before its first step.
        distributions, images: of the last epoch that is done, what its line in the log has no room for: norms and
            cosines of the class centers, and what `Validation` holds.
    """

    def __init__(self, task: Task, world: World = ALONE) -> None:
        check_task(task, world)
        self.task, self.world = task, world
        self._part, whole = RankPart(slice(None), 1.0), world.part(task.batch_size).rows
        # Of a batch that is not the last of an epoch.
        self._rows = whole.stop - whole.start
        if task.recipe.sync_batchnorm and world.size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(task.model)  # type: ignore[no-untyped-call]
        self.epoch = self.step = 0
        self.clock = Stopwatch()
        task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.craft = Crafter(task.model, task.defense, task.recipe, (self._rows, *task.train.pixels.shape[1:]))
        module = LossModule(task.model, task.defense, task.recipe.precision)
        self.losses: Losses = module
        self.ranks = RankGradients(world, task.model, module) if world.size > 1 else None
        self._static_losses = torch.compile(self.losses, dynamic=False) if task.recipe.compiles else self.losses
        total_steps = task.recipe.epochs * task.steps_per_epoch
        self._measures = not averages_settle(task.model, total_steps)
        self._sgd = ScheduledSGD(task.defense.param_groups(task.model), task.recipe, total_steps)
        self.optimizer = self._sgd.sgd
        if task.recipe.engine == "step":
            self._sgd.rates_in_tensors(task.train.labels.device)
        self._graphs: dict[float, StepGraph] = {}
        self.terms: list[str] = []
        self.sums: Tensor | None = None
        self.distributions: dict[str, Tensor] = {}
        self.images: dict[str, Tensor] = {}
        self._finite = FiniteCheck(task.train.labels.device, task.defense.steadier())
        self._perturbed_from = first_epoch(task.recipe.weight_perturbation.start, task.recipe.epochs)
        self._average = WeightAverage(task.model, task.defense, task.recipe.averaging, task.recipe.epochs)
        # The network that is validated and stored: the average, where there is one.
        self._evaluated = task.model
        # Robust and clean accuracy on held-out images, and epoch, of the best weights, kept until they are stored.
        self._best: tuple[float, float, int] | None = None
        self._best_weights: dict[str, Tensor] | None = None

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
            "best": self._best,
        }

    def restore(self, state: Json) -> None:
        """Continue from what `state` returned; ValueError if it is of another training."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        fresh = self.state() | {"parameters": parameters, "averaged": self._average.names}
        check_state(state, fresh, self.task.recipe.epochs, self.task.steps_per_epoch)
        self.task.model.load_state_dict(state["model"])
        self._sgd.restore(state["optimizer"])
        if "average" in state:
            self._average.restore(state["average"])
        self.epoch, self.step, self.clock = state["epoch"], state["step"], Stopwatch(state["seconds"])
        self.terms, self.sums = state["terms"], state["sums"]
        if self.sums is not None:
            self.sums = self.sums.to(self.task.train.labels.device)
        self._best = tuple(state["best"]) if state["best"] else None

    def advance(self, order: Tensor) -> None:
        """One optimizer step on the next batch of the epoch's order."""
        task = self.task
        whole = task.batch(order, self.step)
        if self.ranks is not None:
            self._part = self.world.part(len(whole))
        index = whole[self._part.rows]
        done, terms = self.epoch * task.steps_per_epoch + self.step, self.terms
        self._sgd.schedule(done)
        # Graphs have static shapes: a last batch of another size goes the ordinary way.
        captured = task.recipe.engine == "step" and len(index) == self._rows
        values = (self._graph() if captured else self._update)(index, self.epoch, self.step)
        if task.recipe.averaging.kind == "ema":
            self._average.after_step(self.epoch)
        self._finite.watch(values, done)
        weighted = values.double() * len(whole)
        self.sums = weighted if self.sums is None else same_terms(terms, self.terms, self.sums) + weighted
        self.step += 1

    @property
    def _gamma(self) -> float:
        """Weight perturbation in the epoch that runs."""
        return self.task.recipe.weight_perturbation.gamma if self.epoch >= self._perturbed_from else 0.0

    def _graph(self) -> StepGraph:
        """The captured step, one with and one without weight perturbation."""
        if self._gamma not in self._graphs:
            self._graphs[self._gamma] = StepGraph(self._update, self.task.model, self.optimizer, cuda_graph)
        return self._graphs[self._gamma]

    def _update(self, index: Tensor, epoch: int | Tensor, step: int | Tensor) -> Tensor:
        """Craft, differentiate, step; returns the weighted loss terms, (T,) detached."""
        task = self.task
        batch, losses = make_batch(task, index, epoch, step), self.losses
        if self.ranks is not None:
            batch = self.ranks.part(batch, self._part)
        if len(index) == self._rows and task.recipe.compiles:
            batch, losses = _batch_of_compiled_losses()(**vars(batch)), self._static_losses
        x_adv = self.craft(batch)
        self.optimizer.zero_grad(set_to_none=True)
        with self._at_worst_weights(losses, batch, x_adv):
            if self.ranks is None:
                terms = losses(batch, x_adv)
                self.terms, values = list(terms), _stacked(terms)
                torch.autograd.backward(values.sum())
            else:
                self.terms, values = self.ranks.differentiate(losses, batch, x_adv, self._part)
        self.optimizer.step()
        task.defense.between_steps(task.model)
        return values.detach()

    def _at_worst_weights(self, losses: Losses, batch: Batch, x_adv: Tensor) -> contextlib.AbstractContextManager[None]:
        """The weights of the update's gradient: perturbed, if the recipe perturbs them in this epoch."""
        if not self._gamma:
            return contextlib.nullcontext()
        weight, average = (1.0, None) if self.ranks is None else (self.ranks.weight(self._part), self.ranks.average)
        return weights_perturbed(
            self.task.model, self._gamma, lambda: weight * _stacked(losses(batch, x_adv)).sum(), average
        )

    def _mean_losses(self) -> dict[str, float]:
        assert self.sums is not None
        means = (self.sums / len(self.task.train)).tolist()
        return {"total": sum(means), **dict(zip(self.terms, means, strict=True))}

    def finish_epoch(self) -> Json:
        """Renormalize, validate, and return the epoch's line for the log."""
        task = self.task
        validation = Stopwatch()
        validation.start()
        centers, self.distributions = center_statistics(task.model), center_distributions(task.model)
        task.defense.between_epochs(task.model, self.epoch + 1)
        self._average.after_epoch(self.epoch)
        if self._measures:
            measure_statistics(task.model, statistics_batches(task, self.epoch))
        if task.holdout or self.epoch + 1 == task.recipe.epochs:
            self._evaluated = self._to_evaluate(self.epoch)
        holdout = None
        if task.holdout:
            seen = validate(self._evaluated, task.holdout, task.recipe.attack, task.batch_size, self.world)
            holdout, self.images = seen.accuracy, seen.images
            self.distributions |= seen.distributions
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

    def notes(self) -> Iterator[str]:
        """What a user should know before the first step."""
        task = self.task
        if self.world.size > 1:
            yield f"{self.world.size} ranks share each batch: up to {self._rows} of its images on each"
        yield self.craft.note()
        if self._measures:
            steps = task.recipe.epochs * task.steps_per_epoch
            yield f"{steps} steps in all are few for BatchNorm's running averages: measured anew after each epoch"
        yield (
            f"{len(task.train):,} images in batches of up to {task.batch_size}; epochs: {task.recipe.epochs}, steps in "
            f"each: {task.steps_per_epoch}; the first step begins, on {self._where()}"
        )

    def _where(self) -> str:
        device = self.task.train.labels.device
        return f"the CPU (threads: {torch.get_num_threads()})" if device.type == "cpu" else str(device)

    def warning(self) -> str | None:
        """What a user should know of the network that is stored; None if it is all right."""
        if not batch_norms(self._evaluated):
            return None
        batches = mixed_batches(self.task, self.epoch, LOOK_IMAGES)
        return disagreement_text(*two_accuracies(self._evaluated, ((batch.x, batch.y) for batch in batches)))

    def _to_evaluate(self, epoch: int) -> Classifier:
        """The network as it is validated and stored after an epoch."""
        return self._average.network(lambda: statistics_batches(self.task, epoch))

    def write_last_again(self, run: Run) -> None:
        """Write the weights of a training that is done, from its state: the same bits as at its end."""
        run.write_weights("last", self._to_evaluate(self.epoch - 1).state_dict(), self.epoch)

    def _keep_best(self, robust: float, clean: float) -> None:
        if self._best is None or (robust, clean) > self._best[:2]:
            self._best = (robust, clean, self.epoch + 1)
            self._best_weights = {name: value.clone() for name, value in self._evaluated.state_dict().items()}

    def check(self) -> None:
        """Raise NonFiniteLossError if a loss was not finite; the host waits for the device."""
        self._finite.check_losses(self.terms, self.task.steps_per_epoch)

    def save(self, run: Run | None, final: bool) -> None:
        """Write a checkpoint, if everything is finite; of several ranks, which all have it, the first one does."""
        self.check()
        # An average, or statistics that are measured anew, can overflow where the trained weights do not.
        stored = (self.task.model.state_dict(), self._evaluated.state_dict(), self._best_weights or {})
        self._finite.check_weights(*stored)
        if run is None:
            return
        if self._best is not None and self._best_weights is not None:
            run.write_weights("best", self._best_weights, self._best[2])
            self._best_weights = None
        if final:
            run.write_weights("last", self._evaluated.state_dict(), self.epoch)
        run.write_state(self.state())
