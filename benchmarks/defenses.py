"""What a training step of each defense costs beside one of AT: processor time, one thread, rounds taken in turn.

    python benchmarks/defenses.py benchmarks/results/defenses-resnet8.json
    python benchmarks/defenses.py OUT at oc pcl fsr dio        only these, AT among them

Processor time instead of the clock, so that other work on the machine disturbs less; ratios within one round, so that
what disturbs disturbs all of them.
"""

import statistics
import sys
import time
from pathlib import Path

import torch

from advdpnp.api import environment
from advdpnp.bench.variants import synthetic_images
from advdpnp.experiments import experiment
from advdpnp.runs import write_json
from advdpnp.training import Task
from advdpnp.training.step import Training

BATCH, STEPS, ROUNDS = 128, 2, 5
AWP = "recipe.weight_perturbation.gamma=0.005"
EMA = "recipe.averaging.kind=ema"
ROWS = {
    **{name: (name, []) for name in ("st", "at", "trades", "mart", "at-he", "hat", "ikl", "alp", "dpnp", "adv-dpnp")},
    **{name: (name, []) for name in ("oc", "pcl", "fsr", "dio")},
    "adv-dpnp + AWP": ("adv-dpnp", [AWP]),
    "adv-dpnp + EMA": ("adv-dpnp", [EMA]),
}


def started(defense: str, settings: list[str]) -> Training:
    """A run of resnet8 on one batch of noise, after a first step, which warms up."""
    wanted = experiment(f"cifar10/resnet8/{defense}", "paper", settings=settings)
    images = synthetic_images(BATCH, wanted.data.image_shape, wanted.data.num_classes, torch.device("cpu"))
    model = wanted.build()
    if wanted.needs is not None:
        wanted.defense.install(model, wanted.needs.build().state_dict())
    training = Training(Task(model, wanted.defense, wanted.recipe, images, None, seed=0))
    wanted.defense.between_epochs(training.task.model, 0)
    training.task.model.train()
    seconds_per_step(training, 1)
    return training


def seconds_per_step(training: Training, steps: int) -> float:
    """Processor seconds of a step."""
    order = torch.arange(BATCH)
    began = time.process_time()
    for _ in range(steps):
        training.step = 0
        training.advance(order)
    return (time.process_time() - began) / steps


def main(out: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    runs = {name: started(*ROWS[name]) for name in names or ROWS}
    rounds = [{name: seconds_per_step(run, STEPS) for name, run in runs.items()} for _ in range(ROUNDS)]
    rows = []
    for name in runs:
        ratio = statistics.median(taken[name] / taken["at"] for taken in rounds)
        seconds = statistics.median(taken[name] for taken in rounds)
        rows.append({"defense": name, "seconds_per_step": round(seconds, 4), "steps_of_at": round(ratio, 3)})
        print(f"{name:<16} {seconds:8.3f} s   {ratio:6.2f} x AT")
    facts = {"backbone": "resnet8", "batch": BATCH, "steps": STEPS, "rounds": ROUNDS, "attack_steps": 10}
    write_json(out, {"schema": 1, **facts, "rows": rows, "environment": environment(torch.device("cpu"))})


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "defenses.json"), sys.argv[2:])
