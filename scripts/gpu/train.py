"""Training of an arm, on one engine; what fails leaves a checkpoint that another engine goes on from."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch

from advdpnp import api
from advdpnp.bench.timing import one_line
from advdpnp.experiments import Experiment, experiment, from_config
from advdpnp.progress import Lines
from advdpnp.runs import Json, Run, write_json
from advdpnp.training import StopTraining
from gpu.context import Context
from gpu.processes import AGAIN, DONE, FAILED
from gpu.scale import Arm, Scale

CHECKPOINT_SECONDS = 120.0


def arm_experiment(arm: Arm, scale: Scale, epochs: int, batch: int, engine: str) -> Experiment:
    """An arm: recipe `paper`, with the scale's schedule and precision."""
    settings = (
        *arm.settings,
        *scale.settings,
        f"recipe.precision={scale.precision}",
        f"recipe.epochs={epochs}",
        f"recipe.batch_size={batch}",
        f"recipe.engine={engine}",
    )
    tag = "" if arm.label in (arm.defense, "mean") else arm.label
    return experiment(f"{scale.network}/{arm.defense}", "paper", tag=tag, settings=settings)


class Pace(Lines):
    """Watches a training: news, seconds of each epoch, and a stop with a checkpoint when the time is up.

    Args:
        context: of the stage.
        whole_epochs: stop between epochs only: before one that would not end in time.
        stop_after: the epoch after which it stops; None leaves that to the time.
    """

    def __init__(self, context: Context, whole_epochs: bool = False, stop_after: int | None = None) -> None:
        super().__init__()
        self._context, self._whole, self._stop_after = context, whole_epochs, stop_after
        self._last = time.time()
        self._seconds: list[float] = []

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        super().on_step(epoch, step, steps, epochs)
        self._context.alive()
        if not self._whole and time.time() > self._context.deadline:
            raise StopTraining("the time is up")

    def on_epoch(self, line: Json) -> None:
        super().on_epoch(line)
        now = time.time()
        self._seconds.append(round(now - self._last, 3))
        self._last = now
        self._context.keep(epoch_seconds=self._seconds, epochs_done=line["epoch"])
        late = self._whole and now + min(self._seconds) > self._context.deadline
        if late or line["epoch"] == self._stop_after:
            raise StopTraining(f"after epoch {line['epoch']}")


def hand_over(run: Run, engine: str) -> Experiment | None:
    """Make a stored state one that another engine goes on from; None where there is no good one."""
    if not run.state_path.exists():
        return None
    try:
        state = run.read_state()
        stored = from_config(run.config())
    except (ValueError, FileNotFoundError):
        return None
    for group in state["optimizer"]["param_groups"]:
        # Kept on the device by the engine that captures whole steps.
        group["lr"] = float(group["lr"])
    wanted = replace(stored, recipe=replace(stored.recipe, engine=engine))  # type: ignore[arg-type]
    write_json(run.folder / "config.json", wanted.config())
    run.write_state(state)
    return wanted


def prepare(wanted: Experiment, out: Path) -> tuple[Experiment, str]:
    """The experiment to train and where it begins: "new", "resumed", or "from epoch 3, step 40, of engine step"."""
    run = Run(wanted.folder(out))
    if not (run.folder / "config.json").exists():
        return wanted, "new"
    before = run.config()["recipe"]["engine"]
    if before == wanted.recipe.engine and run.state_path.exists():
        return from_config(run.config()), "resumed"
    continued = hand_over(run, wanted.recipe.engine)
    if continued is None:
        shutil.rmtree(run.folder)
        return wanted, f"new, after engine {before} left no state"
    state = run.read_state()
    return continued, f"from epoch {state['epoch'] + 1}, step {state['step']}, of engine {before}"


def train_stage(context: Context) -> int:
    """Train the arm in the options; any failure is the engine's until all engines have failed."""
    options, out = context.options, context.places.runs / context.arm.label
    engine, batch, epochs = options["engine"], options["batch"], options["epochs"]
    context.keep(engine=engine, batch=batch, epochs=epochs, forwards=context.arm.forwards)
    try:
        wanted, begins = prepare(arm_experiment(context.arm, context.scale, epochs, batch, engine), out)
        context.keep(begins=begins, batch=wanted.recipe.batch_size, epochs=wanted.recipe.epochs)
        train(context, wanted, out, _pace(context))
    except StopTraining:
        return AGAIN
    except Exception as error:
        context.keep(error=one_line(error))
        return FAILED
    if torch.cuda.is_available():
        context.keep(peak_memory_mib=round(torch.cuda.max_memory_allocated() / 2**20))
    return DONE


def _pace(context: Context) -> Pace:
    return Pace(context, context.options.get("whole_epochs", False), context.options.get("stop_after"))


def train(context: Context, wanted: Experiment, out: Path, pace: Pace) -> None:
    """`api.train` with the stage's data; its own function so that tests can break it."""
    api.train(
        wanted,
        out,
        data_root=context.places.data,
        resume=True,
        callback=pace,
        checkpoint_seconds=CHECKPOINT_SECONDS,
        benchmark_cudnn=context.options["benchmark"],
    )
