"""Training on several ranks: what a step costs and exchanges on processes of this CPU, and what 8 to 512 GPUs would do.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/scaling.py --out benchmarks/results/scaling-cpu.json
    python benchmarks/scaling.py

The first measures: a step of one rank alone, and of two ranks with the same and with twice the batch, in turn. The
second prints the tables of docs/scaling.md, which are computed: from step times that were measured on one GPU, and
assumptions about a network of many, all in `Cluster` and `Workload`.
"""

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from advdpnp.api.environment import environment
from advdpnp.data import Images
from advdpnp.experiments import experiment
from advdpnp.runs import write_json
from advdpnp.training import Task
from advdpnp.training.distributed import ALONE, World, joined
from advdpnp.training.step import Training

ROUNDS, STEPS, BATCH = 5, 2, 32


@dataclass(frozen=True)
class Cluster:
    """What is assumed of the network between GPUs.

    Args:
        node: GPUs of one machine.
        inside: bytes per second of each GPU inside a machine, as all-reduces get it.
        between: bytes per second of each GPU to other machines.
        start: seconds to begin an all-reduce.
        hop: seconds more for each doubling of the machines.
    """

    node: int = 8
    inside: float = 360e9
    between: float = 45e9
    start: float = 30e-6
    hop: float = 24e-6

    def all_reduce(self, size: float, gpus: int) -> float:
        """Seconds to add up `size` bytes over GPUs: in each machine, then between machines a share of each GPU."""
        local = min(gpus, self.node)
        machines = gpus // local
        inside = 2 * (local - 1) / local * size / self.inside
        between = 2 * (machines - 1) / machines * size / local / self.between
        return inside + between + self.start + self.hop * math.log2(machines)


@dataclass(frozen=True)
class Workload:
    """A training whose steps are known on one GPU.

    Args:
        name: for tables.
        fixed, per_image: seconds of a step: fixed + per_image times the images of the GPU.
        parameters: numbers in the gradient.
        channels: of all BatchNorm layers.
        passes: forward passes that a step costs; a backward pass is two, an iteration of the attack two.
        images: of an epoch.
        epochs: of a run.
    """

    name: str
    fixed: float
    per_image: float
    parameters: int
    channels: int
    passes: int
    images: int
    epochs: int

    def step(self, images: int) -> float:
        return self.fixed + self.per_image * images

    def exposed(self, images: int, gpus: int, cluster: Cluster) -> float:
        """Seconds of a step in which GPUs wait for the network.

        A gradient is complete once both branches have gone back through its layer, so what hides it is the backward
        pass of one branch, 2 of all passes; the statistics, and the start of the last bucket, are hidden by nothing.
        """
        hidden = 2 / self.passes * self.per_image * images
        gradient = cluster.all_reduce(4 * self.parameters, gpus)
        latency = cluster.all_reduce(0, gpus)
        return max(gradient - hidden, latency) + cluster.all_reduce(8 * self.channels, gpus)

    def efficiency(self, images: int, gpus: int, cluster: Cluster) -> float:
        """Images per second and GPU, over those of one GPU with as many images."""
        return self.step(images) / (self.step(images) + self.exposed(images, gpus, cluster))


# Of an H200 in bf16: 16.3 ms for 128 images and 25.7 ms for 256 with the engine "step", and 20.5 ms for 128 with
# "graph", which several ranks have: 9.4 ms for 128 images more, and the rest of 20.5 ms whatever their number.
_PER_IMAGE = (25.7e-3 - 16.3e-3) / 128
RESNET18 = Workload("ResNet-18, CIFAR-10", 20.5e-3 - 128 * _PER_IMAGE, _PER_IMAGE, 11_173_952, 4_800, 26, 50_000, 110)
# 25.6 million parameters, 26,560 channels; a forward pass is 8.2 GFLOP where that of ResNet-18 is 1.11, and three
# iterations make it 12 passes in place of 26. At the same rate of arithmetic, which is an assumption.
RESNET50 = Workload(
    "ResNet-50, ImageNet", RESNET18.fixed, _PER_IMAGE * 8.2 / 1.11 * 12 / 26, 25_557_032, 26_560, 12, 1_281_167, 90
)
GPUS = (8, 64, 512)


def tables(cluster: Cluster = Cluster()) -> Iterator[str]:
    """The computed tables, as Markdown, a line at a time."""
    yield "| | GPUs | images of each | batch | all-reduce, ms | waits, ms | step, ms | efficiency | a run, minutes |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for work, images in ((RESNET18, 128), (RESNET50, 64)):
        for gpus in GPUS:
            gradient, waits = cluster.all_reduce(4 * work.parameters, gpus), work.exposed(images, gpus, cluster)
            step = work.step(images) + waits
            steps = math.ceil(work.images / (images * gpus)) * work.epochs
            yield (
                f"| {work.name} | {gpus} | {images} | {images * gpus:,} | {1e3 * gradient:.2f} | {1e3 * waits:.2f} | "
                f"{1e3 * step:.1f} | {100 * work.efficiency(images, gpus, cluster):.1f} % | {steps * step / 60:.1f} |"
            )
    yield ""
    yield "| | batch | GPUs | images of each | step, ms | times as fast as one |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for work, batch in ((RESNET18, 128), (RESNET18, 1024), (RESNET50, 1024), (RESNET50, 8192)):
        for gpus in (1, *GPUS):
            if batch // gpus < 2:
                continue
            images = batch // gpus
            step = work.step(images) + (work.exposed(images, gpus, cluster) if gpus > 1 else 0)
            yield f"| {work.name} | {batch:,} | {gpus} | {images} | {1e3 * step:.1f} | {work.step(batch) / step:.1f} |"


def task_of(batch: int) -> Task:
    """Adv-DPNP on a ResNet-8 and random images."""
    wanted = experiment("cifar10/resnet8/adv-dpnp", "paper", settings=[f"recipe.batch_size={batch}"])
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4 * batch, 3, 32, 32), dtype=torch.uint8, generator=generator)
    images = Images(pixels, torch.arange(4 * batch) % 10)
    recipe = replace(wanted.recipe, epochs=1000)
    return Task(wanted.build(), wanted.defense, recipe, images, None, 0)


class Clock:
    """Bytes of all-reduces of one rank, and how long it waited for them."""

    def __init__(self) -> None:
        self.gradient = self.others = 0
        self.seconds = 0.0

    def hook(self, state: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        """In DDP's place: the mean of a bucket over ranks, waited for."""
        self.gradient += bucket.buffer().nbytes
        began = time.perf_counter()
        mean = bucket.buffer().div_(dist.get_world_size())
        dist.all_reduce(mean)
        self.seconds += time.perf_counter() - began
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        future.set_result(mean)
        return future


class ClockedWorld(World):
    """Ranks whose other exchanges are counted too."""

    clock: Clock

    def add_up(self, values: Tensor) -> Tensor:
        began = time.perf_counter()
        result = super().add_up(values)
        self.clock.others += values.nbytes
        self.clock.seconds += time.perf_counter() - began
        return result


def prepared(batch: int, world: World, clock: Clock | None = None) -> tuple[Training, Tensor]:
    """A training whose first steps, which set things up, are done."""
    training = Training(task_of(batch), world)
    training.task.model.train()
    order = torch.arange(len(training.task.train))
    training.advance(order)
    if training.ranks is not None and clock is not None:
        wrapped = training.ranks._wrapped
        assert wrapped is not None
        wrapped.register_comm_hook(None, clock.hook)  # type: ignore[no-untyped-call]
    return training, order


def seconds_of(training: Training, order: Tensor) -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        training.step = 0
        training.advance(order)
    return (time.perf_counter() - began) / STEPS


def measure(world: World) -> dict[str, Any]:
    """Medians of steps; the variants in turn, so that what else the machine does hits all of them."""
    clock = Clock()
    clocked = ClockedWorld(world.rank, world.size, world.store)
    object.__setattr__(clocked, "clock", clock)
    alone = prepared(BATCH, ALONE)
    same, twice = (prepared(batch, clocked, clock) for batch in (BATCH, world.size * BATCH))
    times: dict[str, list[float]] = {"one rank": [], "same batch": [], "batch per rank": []}
    shares: dict[str, list[float]] = {"same batch": [], "batch per rank": []}
    clock.gradient = clock.others = 0
    for _ in range(ROUNDS):
        if world.leads:
            times["one rank"].append(seconds_of(*alone))
        dist.barrier()
        for name, training in (("same batch", same), ("batch per rank", twice)):
            before = clock.seconds
            times[name].append(seconds_of(*training))
            shares[name].append((clock.seconds - before) / STEPS / times[name][-1])
    steps = 2 * ROUNDS * STEPS
    model = same[0].task.model
    return {
        "ranks": world.size,
        "batch": BATCH,
        "seconds": {name: statistics.median(values) for name, values in times.items() if values},
        "all_seconds": times,
        "communication_share": {name: statistics.median(values) for name, values in shares.items()},
        "bytes_per_step": {"gradient": clock.gradient // steps, "statistics": clock.others // steps},
        "parameters": sum(p.numel() for p in model.parameters()),
        "environment": environment(torch.device("cpu")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.out is None:
        print("\n".join(tables()))
        return
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as world:
        if world.size == 1:
            raise SystemExit("start it with torchrun --nproc-per-node 2")
        found = measure(world)
        if world.leads:
            write_json(arguments.out, found)
            print({key: value for key, value in found.items() if key not in ("all_seconds", "environment")})


if __name__ == "__main__":
    main()
