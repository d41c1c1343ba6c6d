"""From an experiment to a trained run."""

import hashlib
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advdpnp import data
from advdpnp.api.environment import check_environment, cudnn_benchmark, environment, resolve_device, use_tf32
from advdpnp.api.fine_tuning import load_initial
from advdpnp.callbacks import Silent
from advdpnp.deprecation import renamed
from advdpnp.dtype import float32_default
from advdpnp.experiments import Experiment, experiment, from_config
from advdpnp.progress import duration
from advdpnp.runs import Json, Run
from advdpnp.training import Recipe, Task, TrainingCallback, check_task, fit


def make_task(wanted: Experiment, device: torch.device, data_root: Path | None = None) -> Task:
    """Network and images of an experiment, on the device; what `wanted.needs` trains is not yet in the network."""
    images = data.load(wanted.data, "train", data_root)
    held = held_out(images.labels, wanted.recipe)
    return Task(
        model=wanted.build().to(device),
        defense=wanted.defense,
        recipe=wanted.recipe,
        train=images.select(trained_on(images.labels, wanted.recipe)).to(device),
        holdout=images.select(held).to(device) if len(held) else None,
        seed=wanted.seed,
    )


def held_out(labels: Tensor, recipe: Recipe) -> Tensor:
    """Positions in the training split, (N,) labels, of the images that a recipe holds out for validation."""
    return data.stratified(labels, recipe.holdout, "holdout")


def trained_on(labels: Tensor, recipe: Recipe) -> Tensor:
    """Positions in the training split, (N,) labels, of the images that a recipe trains on."""
    rest = torch.arange(len(labels))
    rest = rest[~torch.isin(rest, held_out(labels, recipe))]
    if recipe.train_images:
        rest = rest[data.stratified(labels[rest], recipe.train_images, "train-images")]
    return rest


@renamed(observer="callback")
@float32_default()
def train(
    what: Experiment | str,
    out: Path | str = "runs",
    *,
    device: str | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    callback: TrainingCallback | None = None,
    checkpoint_seconds: float = 60.0,
    benchmark_cudnn: bool = False,
) -> Run:
    """Train an experiment into its run folder, and before it the experiment that it needs, if it needs one.

    Args:
        what: an experiment, or its name, such as "digits/tiny/adv-dpnp".
        out: folder of all runs.
        device: torch device; by default the GPU where there is one.
        data_root: folder of the data files; see `advdpnp.data.data_root`.
        resume: continue an interrupted run; one that is finished stays as it is.
        callback: told of every step and epoch.
        checkpoint_seconds: how much work a kill may cost.
        benchmark_cudnn: cuDNN tries its algorithms and keeps the fastest; see `cudnn_benchmark`.
    Raises:
        StopTraining: the callback's; the state is stored.
        ValueError: the folder holds another configuration, or this one without `resume`.
    """
    wanted = experiment(what) if isinstance(what, str) else what
    on, out, told = resolve_device(device), Path(out), callback or Silent()
    run = Run(wanted.folder(out))
    if run.exists and not resume:
        run.create_or_verify(_config(wanted, _recorded_helper(run)), _completed)
        raise ValueError(f"{run.folder} exists: add --resume to continue it, or --name to start another beside it")
    options = {"checkpoint_seconds": checkpoint_seconds, "benchmark_cudnn": benchmark_cudnn}
    helper = _helper(wanted, run, out, told, device=device, data_root=data_root, **options)
    use_tf32(wanted.recipe.precision == "tf32")
    task = make_task(wanted, on, data_root)
    check_task(task)
    if not run.state_path.exists():
        load_initial(task.model, wanted, data_root, told.on_note)
    record = _recorded_helper(run) if helper is None else _record(helper, out)
    run.create_or_verify(_config(wanted, record), _completed)
    run.remove_torn_writes()
    if helper is not None:
        task.defense.install(task.model, helper.read_weights("last")[0])
    if wanted.recipe.compiles:
        # Another network or batch compiles the same functions again; after eight the compiler would give up.
        torch.compiler.reset()
    with cudnn_benchmark(benchmark_cudnn):
        check_environment(run, environment(on))
        fit(task, run, told, resume, checkpoint_seconds)
    return run


def _helper(wanted: Experiment, run: Run, out: Path, callback: TrainingCallback, **options: Any) -> Run | None:
    """The finished run that `wanted` needs, trained now unless it is there; None where nothing is needed any more."""
    if wanted.needs is None:
        return None
    helper = Run(wanted.needs.folder(out))
    if helper.weights_path("last").is_file():
        helper.create_or_verify(wanted.needs.config(), _completed)
        callback.on_note(f"helper: {helper.folder} is there")
        return helper
    if run.state_path.exists():
        callback.on_note("helper: its weights are in the stored state")
        return None
    callback.on_note(f"helper: {helper.folder} is {'continued' if helper.state_path.exists() else 'trained'} first")
    began = time.monotonic()
    train(wanted.needs, out, callback=callback, resume=True, **options)
    callback.on_note(f"helper: finished after {duration(time.monotonic() - began)}; now {run.folder}")
    return helper


def _record(helper: Run, out: Path) -> Json:
    """What a configuration says of the helper, so that a resumed run notices another one."""
    return {
        "defense": helper.config()["defense"]["name"],
        "folder": helper.folder.relative_to(out).as_posix(),
        "weights_sha256": hashlib.sha256(helper.weights_path("last").read_bytes()).hexdigest(),
    }


def _recorded_helper(run: Run) -> Json | None:
    return run.config().get("needs") if run.exists else None


def _completed(stored: Json) -> Json:
    """A configuration of an older version with the fields that were added since, at their defaults."""
    try:
        return _config(from_config(stored), stored.get("needs"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return stored


def _config(wanted: Experiment, helper: Json | None) -> Json:
    return wanted.config() if helper is None else wanted.config() | {"needs": helper}
