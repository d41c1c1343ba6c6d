"""Work for several ranks: `python ranks.py CASE,CASE,... FOLDER` on each of them; what a rank found is in a file."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import warm
from advdpnp.api import make_task, training
from advdpnp.callbacks import Silent, StopTraining
from advdpnp.defenses import DEFENSES
from advdpnp.experiments import Experiment, experiment
from advdpnp.models.classifier import Backbone
from advdpnp.runs import Run
from advdpnp.training import Task, fit
from advdpnp.training.distributed import World, joined
from advdpnp.training.step import Training
from advdpnp.training.step import make_batch as batch_as_it_is
from advdpnp.training.validation import validate
from training.small import created, double_task, in_double, small_task, train_in_double

SOURCE, TESTS = Path(__file__).parents[2] / "src", Path(__file__).parents[1]

# Batches of 20, 20 and 5 images: of three ranks 7, 7, 6 and then 3, 2, none.
SIZES = ("recipe.train_images=45", "recipe.batch_size=20", "recipe.epochs=1", "recipe.holdout=0")
# FSR's modules have BatchNorm, whatever the backbone has.
WITHOUT_BATCHNORM = [name for name in DEFENSES if "fsr" not in name]


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a rank."""
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    return {
        **os.environ,
        **{name: str(value) for name, value in places.items()},
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_RUN_ID": "test",
        "PYTHONPATH": f"{SOURCE}:{TESTS}",
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def on_ranks(size: int, cases: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """What each rank found: case -> result."""
    port = free_port()
    log = folder / f"log{size}"
    with log.open("w") as told:
        processes = [
            warm.start([__file__, ",".join(cases), str(folder)], env=environment(rank, size, port), stderr=told)
            for rank in range(size)
        ]
        statuses = [process.wait(240) for process in processes]
    assert statuses == [0] * size, log.read_text()
    return [torch.load(folder / f"{size}-{rank}.pt") for rank in range(size)]


class Plain(Backbone):
    """Two convolutions without BatchNorm."""

    features, map_channels = 16, 16

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x).flatten(1)
        return features


def plain_task(defense: str, *settings: str) -> Task:
    """In float64, on a network without BatchNorm."""
    task = small_task(defense, *SIZES, *settings)
    torch.manual_seed(1)
    model = task.defense.build(Plain(), 10)
    if task.defense.needs is not None and defense != "pcl":
        model.helper.trained = True
    return replace(task, model=model.double())


def batch_of(task: Task, index: Tensor, step: int) -> Any:
    """The batch at these positions in epoch 0."""
    return batch_as_it_is(task, index, 0, step)


def order_of(task: Task) -> Tensor:
    return torch.randperm(len(task.train), generator=torch.Generator().manual_seed(3))


def epoch_of(task: Task, world: World) -> tuple[list[list[float]], dict[str, Tensor]]:
    """The loss terms of each step of an epoch, and the weights and buffers after it."""
    training = Training(task, world)
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    terms, before = [], torch.zeros(())
    for step in range(task.steps_per_epoch):
        training.advance(order_of(task))
        assert training.sums is not None
        terms.append(((training.sums - before) / len(task.batch(order_of(task), step))).tolist())
        before = training.sums
    task.defense.between_epochs(task.model, 1)
    return terms, {name: value.clone() for name, value in task.model.state_dict().items()}


def plain(world: World, folder: Path) -> Any:
    # More ranks take longer, and show no more of a defense whose terms are means over rows.
    names = WITHOUT_BATCHNORM if world.size == 2 else ("adv-dpnp", "pcl", "dio", "ikl")
    return {name: epoch_of(plain_task(name), world) for name in names}


def normalized(world: World, folder: Path) -> Any:
    return {name: epoch_of(double_task(name, *SIZES), world) for name in DEFENSES}


def perturbed(world: World, folder: Path) -> Any:
    """Weight perturbation, whose gradient is another one than the update's."""
    return {name: epoch_of(plain_task(name, "recipe.weight_perturbation.gamma=0.01"), world) for name in ("at", "ikl")}


def counted(world: World, folder: Path) -> Any:
    """Collectives of the attack, and of a whole step: once the wrapper has settled."""
    found = {}
    settings = {"at": "at", "dio": "dio", "ikl": "ikl", "awp": "at", "normalized": "adv-dpnp"}
    for name, defense in settings.items():
        more = ("recipe.weight_perturbation.gamma=0.01",) if name == "awp" else ()
        make = double_task if name == "normalized" else plain_task
        task = make(defense, *SIZES, *more)
        training = Training(task, world)
        craft, crafting = training.craft, []
        task.model.train()
        for _ in range(2):
            training.advance(order_of(task))
        training.step = 0

        def counting(batch: Any, craft: Any = craft, crafting: Any = crafting) -> Tensor:
            result, count = collectives(lambda: craft(batch))
            crafting.append(count)
            return result

        training.craft = counting
        training.advance(order_of(task))
        training.craft, training.step = craft, 0
        _, step = collectives(lambda training=training, task=task: training.advance(order_of(task)))
        found[name] = crafting, step
    return found


def collectives(work: Callable[[], Any]) -> tuple[Any, int]:
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        result = work()
    return result, sum(event.count for event in profiled.key_averages() if event.key.startswith("c10d::"))


def validated(world: World, folder: Path) -> Any:
    task = small_task("dio", "recipe.batch_size=16")
    assert task.holdout is not None
    seen = validate(task.model, task.holdout, task.recipe.attack, 16, world)
    return [seen.accuracy, seen.distributions, seen.images]


def told(world: World, folder: Path) -> Any:
    kernel = torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last) * (1 - world.rank)
    tensors = {"a": torch.zeros(3), "b": kernel, "c": torch.tensor([-0.0])}
    unlike = world.make_equal(tensors)
    agreed = world.agreed([world.rank == 1, False, True])
    return [unlike, tensors["b"], agreed, world.told({"rank": world.rank, "tensor": torch.tensor(world.rank)})]


class StopAfter(Silent):
    """Wants to stop after so many steps, by a signal or by itself, and keeps the notes."""

    def __init__(self, steps: int, by: str) -> None:
        self._left, self._by, self.notes = steps, by, ""

    def on_note(self, text: str) -> None:
        self.notes += text + "\n"

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        self._left -= 1
        if self._left == 0 and self._by == "signal":
            os.kill(os.getpid(), signal.SIGINT)
        elif self._left == 0:
            raise StopTraining


LONG = ("recipe.epochs=2", "recipe.averaging.kind=ema", "recipe.averaging.decay=0.9")


HELD_OUT = ("recipe.holdout=40",)


def helped(world: World, folder: Path) -> Any:
    """HAT and the helper that it needs; then another method that needs the same. Weights of this rank, and notes."""
    told, tasks = StopAfter(10**9, "nothing"), list[Task]()

    def made(wanted: Experiment, *_: Any) -> Task:
        task = make_task(wanted, torch.device("cpu"))
        torch.manual_seed(1)
        tasks.append(replace(task, model=task.defense.build(Plain(), 10).double()))
        return tasks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "make_task", made)
        options = training._Options(torch.device("cpu"), None, 60.0, False, world)
        for name in ("hat", "adv-dpnp-hat"):
            wanted = experiment(f"digits/tiny/{name}", settings=(*SIZES, "recipe.attack.steps=2"))
            training._train(wanted, folder / f"helped-{world.size}", told, False, (), options)
    return [[dict(task.model.state_dict()) for task in tasks], told.notes]


def run_of(folder: Path, world: World, *settings: str) -> Run | None:
    return created(folder, "adv-dpnp", *SIZES, *LONG, *settings) if world.leads else None


def fitted(task: Task, folder: Path, world: World, resume: bool = False, callback: Any = None) -> dict[str, Tensor]:
    """The weights of this rank after a training, or as they are stored where it was stopped."""
    more = () if task.holdout is None else HELD_OUT
    fit(task, run_of(folder, world, *more), callback or Silent(), resume, 0, world)
    return dict(task.model.state_dict())


def stopped(world: World, folder: Path) -> Any:
    """A signal to rank 1 alone, and the wish of a callback of rank 0 alone."""
    found: dict[str, Any] = {}
    for by, rank in (("signal", 1), ("callback", 0)):
        caught: BaseException | None = None
        callback = StopAfter(2 if world.rank == rank else 10**9, by)
        training = plain_task("adv-dpnp", *LONG)
        try:
            fitted(training, folder / f"by-{by}", world, callback=callback)
        except (KeyboardInterrupt, StopTraining) as stop:
            caught = stop
        found[by] = [type(caught).__name__, callback.notes.splitlines()[-1:], dict(training.model.state_dict())]
    return found


def continued(world: World, folder: Path) -> Any:
    return fitted(plain_task("adv-dpnp", *LONG), folder / f"continued-by-{world.size}", world, resume=True)


def resumed(world: World, folder: Path) -> Any:
    """A whole run, and one that is stopped and goes on: on as many ranks, with BatchNorm and in float32."""
    whole, broken = (folder / f"{name}-{world.size}" for name in ("whole", "broken"))
    first = fitted(small_task("adv-dpnp", *SIZES, *LONG, *HELD_OUT), whole, world)
    try:
        task = small_task("adv-dpnp", *SIZES, *LONG, *HELD_OUT)
        fitted(task, broken, world, callback=StopAfter(2 if world.leads else 10**9, "callback"))
    except StopTraining:
        pass
    return [first, fitted(small_task("adv-dpnp", *SIZES, *LONG, *HELD_OUT), broken, world, resume=True)]


def diverged(world: World, folder: Path) -> Any:
    """A loss that is not finite on rank 1 alone."""
    task = plain_task("adv-dpnp", *LONG)
    if world.rank == 1:
        task.train.pixels.data = task.train.pixels.float().fill_(torch.nan)
    try:
        fitted(task, folder / "diverged", world)
    except ValueError as error:
        return str(error)
    return "nothing"


DOUBLE = (plain, normalized, perturbed, counted, stopped, continued, diverged, helped)
CASES = {case.__name__: case for case in (*DOUBLE, validated, told, resumed)}


def main(names: str, out: str) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(out)
    with joined(torch.device("cpu")) as world:
        found = {}
        for name in names.split(","):
            case = CASES[name]
            with pytest.MonkeyPatch.context() if case in DOUBLE else nullcontext() as patch:
                if patch is not None:
                    train_in_double(patch)
                found[name] = case(world, folder)
            dist.barrier()
        torch.save(found, folder / f"{world.size}-{world.rank}.pt")


__all__ = ["in_double"]

if __name__ == "__main__":
    main(*sys.argv[1:])
