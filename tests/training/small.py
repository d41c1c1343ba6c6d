"""Tasks that train in a blink."""

from pathlib import Path

import torch

from advdpnp import data
from advdpnp.api import make_task
from advdpnp.experiments import Experiment, experiment
from advdpnp.progress import Silent
from advdpnp.runs import Json, Run
from advdpnp.training import Task, fit

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
    return make_task(small_experiment(defense, *settings), torch.device("cpu"))


class StopAt(Silent):
    """Raises KeyboardInterrupt after some steps, as an impatient person would."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt


def claimed(folder: Path, defense: str = "adv-dpnp", *settings: str) -> Run:
    run = Run(folder)
    run.claim(small_experiment(defense, *settings).config())
    return run


def trained(folder: Path, task: Task, run: Run, resume: bool = False) -> dict[str, torch.Tensor]:
    fit(task, run, Silent(), resume=resume, checkpoint_seconds=0)
    return run.read_weights("last")[0]


def without_times(lines: list[Json]) -> list[Json]:
    return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in lines]


__all__ = ["StopAt", "claimed", "data", "small_experiment", "small_task", "trained", "without_times"]
