"""Tasks that train in a blink."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from advdpnp import data
from advdpnp.api import make_task
from advdpnp.callbacks import Silent
from advdpnp.defenses.base import Batch
from advdpnp.experiments import Experiment, experiment
from advdpnp.runs import Json, Run
from advdpnp.training import Task, fit, step
from advdpnp.training.step import make_batch

QUICK = (
    "recipe.epochs=2",
    "recipe.train_images=96",
    "recipe.batch_size=32",
    "recipe.holdout=40",
    "recipe.attack.steps=2",
)


def small_experiment(defense: str = "adv-dpnp", *settings: str) -> Experiment:
    return experiment(f"digits/tiny/{defense}", settings=(*QUICK, *settings))


def small_task(defense: str = "adv-dpnp", *settings: str) -> Task:
    wanted = small_experiment(defense, *settings)
    task = make_task(wanted, torch.device("cpu"))
    if wanted.needs is not None:
        # As good as trained: what a helper says matters here nowhere.
        task.defense.install(task.model, wanted.needs.build().state_dict())
    return task


def double_task(defense: str = "adv-dpnp", *settings: str) -> Task:
    """A task whose network computes in float64 and has normalization layers that have seen something.

    Two ways to the same iterates round differently, and sign(gradient) and ReLU turn a difference of rounding size into
    one of full size. In float32 that happens to some pixels of every batch, to how many depends on the processor; in
    float64 it is 10^9 times as rare, so that what differs is the mathematics.
    """
    task = small_task(defense, *settings)
    generator = torch.Generator().manual_seed(0)
    for module in task.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.2, generator=generator)
    task.model.double()
    return task


def in_double(batch: Batch) -> Batch:
    return dataclasses.replace(batch, x=batch.x.double())


def train_in_double(patch: pytest.MonkeyPatch) -> None:
    """Let training give its batches to a `double_task` in float64."""
    patch.setattr(step, "make_batch", lambda *arguments: in_double(make_batch(*arguments)))


# A few steps of a float32 learning rate, in a network of float64.
RATE_ERROR = 10 * torch.finfo(torch.float32).eps


class StopAt(Silent):
    """Raises KeyboardInterrupt after some steps, as an impatient person would."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt


def created(folder: Path, defense: str = "adv-dpnp", *settings: str) -> Run:
    run = Run(folder)
    run.create_or_verify(small_experiment(defense, *settings).config())
    return run


def trained(folder: Path, task: Task, run: Run, resume: bool = False) -> dict[str, torch.Tensor]:
    fit(task, run, Silent(), resume=resume, checkpoint_seconds=0)
    return run.read_weights("last")[0]


def without_times(lines: list[Json]) -> list[Json]:
    return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in lines]


__all__ = [
    "RATE_ERROR",
    "StopAt",
    "created",
    "data",
    "double_task",
    "in_double",
    "small_experiment",
    "small_task",
    "train_in_double",
    "trained",
    "without_times",
]
