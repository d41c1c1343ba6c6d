"""From an experiment to a trained run."""

import contextlib
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advdpnp import data as datasets
from advdpnp.api.environment import check_environment, cudnn_benchmark, environment, resolve_device, use_tf32
from advdpnp.api.fine_tuning import load_initial
from advdpnp.api.run_images import check_unchanged, remember_images
from advdpnp.callbacks import Silent
from advdpnp.data import DataSpec
from advdpnp.data import given as make_given
from advdpnp.deprecation import renamed
from advdpnp.dtype import float32_default
from advdpnp.experiments import Experiment, experiment, experiment_on, from_config
from advdpnp.launch import launch
from advdpnp.lock import only_process
from advdpnp.loggers import Logger, following, make_loggers
from advdpnp.progress import duration
from advdpnp.runs import Json, Run
from advdpnp.training import Task, TrainingCallback, check_task, fit
from advdpnp.training.distributed import World, joined, rank_device


def make_task(wanted: Experiment, device: torch.device, data_root: Path | None = None) -> Task:
    """Network and images of an experiment, on the device; what `wanted.needs` trains is not yet in the network."""
    images = datasets.load(wanted.data, "train", data_root)
    held = held_out(images.labels, wanted)
    return Task(
        model=wanted.build().to(device),
        defense=wanted.defense,
        recipe=wanted.recipe,
        train=images.select(trained_on(images.labels, wanted)).to(device),
        holdout=images.select(held).to(device) if len(held) else None,
        seed=wanted.seed,
    )


def held_out(labels: Tensor, wanted: Experiment) -> Tensor:
    """Positions in the training split, (N,) labels, of the images that an experiment holds out for validation."""
    first = _first_validation(labels, wanted)
    own = labels[first:] if first < len(labels) else labels
    chosen = datasets.stratified(own, wanted.recipe.holdout, "holdout")
    return chosen + first if first < len(labels) else chosen


def trained_on(labels: Tensor, wanted: Experiment) -> Tensor:
    """Positions in the training split, (N,) labels, of the images that an experiment trains on."""
    rest = torch.arange(_first_validation(labels, wanted))
    rest = rest[~torch.isin(rest, held_out(labels, wanted))]
    if wanted.recipe.train_images:
        rest = rest[datasets.stratified(labels[rest], wanted.recipe.train_images, "train-images")]
    return rest


def _first_validation(labels: Tensor, wanted: Experiment) -> int:
    """Where the validation images of a set that has its own begin."""
    return len(labels) - wanted.data.validation_size


@renamed(observer="callback")
@float32_default()
def train(
    what: Experiment | str,
    out: Path | str = "runs",
    *,
    data: Any = None,
    device: str | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    callback: TrainingCallback | None = None,
    checkpoint_seconds: float = 60.0,
    benchmark_cudnn: bool = False,
    log: Sequence[str | Logger] = (),
) -> Run:
    """Train an experiment into its run folder, and before it the experiment that it needs, if it needs one.

    Args:
        what: an experiment, or its name, such as "digits/tiny/adv-dpnp"; with `data`, backbone and defense alone, as in
            "resnet18/adv-dpnp".
        out: folder of all runs.
        data: images in memory to train on, as `advdpnp.given` takes them: arrays (x, y), a data set of torch or of
            HuggingFace, or a mapping of "train" and "test" to such; or what `given` made of them.
        device: torch device; by default the GPU where there is one.
        data_root: folder of the data files; see `advdpnp.data.data_root`.
        resume: continue an interrupted run; one that is finished stays as it is.
        callback: told of every step and epoch.
        checkpoint_seconds: how much work a kill may cost.
        benchmark_cudnn: cuDNN tries its algorithms and keeps the fastest; see `cudnn_benchmark`.
        log: where every epoch is logged: "tensorboard", "wandb", "mlflow", or a `Logger` of your own.
    Raises:
        StopTraining: the callback's; the state is stored.
        ValueError: the folder holds another configuration, or this one without `resume`, or another process is
            training it; a logger is unknown, or its package not installed.

    Processes that torchrun starts train together, each with a part of every batch. Rank 0 reads and writes the folder,
    logs, and has the callback; the others return when it does.
    """
    on, out = resolve_device(rank_device(device, launch())), Path(out)
    with joined(on) as world:
        told = callback if callback is not None and world.leads else Silent()
        wanted = _experiment(what, data, told)
        options = _Options(on, data_root, checkpoint_seconds, benchmark_cudnn, world)
        return _train(wanted, out, told, resume, log if world.leads else (), options)


@dataclass(frozen=True)
class _Options:
    """What a run and the one that it needs have in common."""

    device: torch.device
    data_root: Path | None
    checkpoint_seconds: float
    benchmark_cudnn: bool
    world: World


def _train(
    wanted: Experiment,
    out: Path,
    told: TrainingCallback,
    resume: bool,
    log: Sequence[str | Logger],
    options: _Options,
) -> Run:
    loggers = make_loggers(log)
    on, data_root, world = options.device, options.data_root, options.world
    run = Run(wanted.folder(out))
    if world.leads:
        check_unchanged(run, wanted.data)
        if run.exists and not resume:
            verify(run, wanted)
            raise ValueError(f"{run.folder} exists: add --resume to continue it, or --name to start another beside it")
    helper = _helper(wanted, run, out, told, [name for name in log if isinstance(name, str)], options)
    use_tf32(wanted.recipe.precision == "tf32")
    task = make_task(wanted, on, data_root)
    check_task(task, world)
    if not world.told(run.state_path.exists()):
        load_initial(task.model, wanted, data_root, told.on_note)
    with only_process(run.lock_path, str(run.folder)) if world.leads else contextlib.nullcontext():
        if world.leads:
            record = _recorded_helper(run) if helper is None else _record(helper, out)
            run.create_or_verify(_config(wanted, record), _completed)
            run.remove_torn_writes()
            remember_images(run, wanted.data, data_root)
        helper_weights = world.told(None if helper is None else helper.read_weights("last")[0])
        if helper_weights is not None:
            task.defense.install(task.model, helper_weights)
        if wanted.recipe.compiles:
            # Another network or batch compiles the same functions again; after eight the compiler would give up.
            torch.compiler.reset()
        with cudnn_benchmark(options.benchmark_cudnn):
            if not world.leads:
                fit(task, None, told, resume, world=world)
                return run
            check_environment(run, environment(on) | {"ranks": world.size})
            with following(told, run, loggers, len(task.train)) as followed:
                fit(task, run, followed, resume, options.checkpoint_seconds, world)
    return run


def verify(run: Run, wanted: Experiment) -> None:
    """ValueError if a run that is there is of another configuration than this experiment's; the fields are named."""
    run.create_or_verify(_config(wanted, _recorded_helper(run)), _completed)


def _experiment(what: object, given: Any, callback: TrainingCallback) -> Experiment:
    """The experiment that a caller names, on a data set by name or on images in memory."""
    if given is None:
        if isinstance(what, Experiment):
            return what
        if isinstance(what, str):
            return experiment(what)
        raise ValueError(
            f"train takes an experiment or its name; got {type(what).__name__}: for images in memory, give "
            'train("resnet18/adv-dpnp", data=(x, y))'
        )
    if not isinstance(what, str) or what.count("/") != 1:
        shown = repr(what) if isinstance(what, str) else "an experiment, which has data of its own"
        raise ValueError(f"with data, name backbone and defense, as in resnet18/adv-dpnp; got {shown}")
    if isinstance(given, str | Path):
        raise ValueError(
            f"data must be images in memory; got the text {str(given)!r}: a folder is "
            f'experiment_on(folder_spec("{given}", image_size=32), ...)'
        )
    facts = given if isinstance(given, DataSpec) else make_given(given, tell=callback.on_note)
    backbone, _, defense = what.partition("/")
    return experiment_on(facts, backbone, defense)


def _helper(
    wanted: Experiment,
    run: Run,
    out: Path,
    callback: TrainingCallback,
    log: Sequence[str | Logger],
    options: _Options,
) -> Run | None:
    """The finished run that `wanted` needs, trained now unless it is there.

    None where nothing is needed any more, and on all ranks but the first.
    """
    if wanted.needs is None:
        return None
    helper, world = Run(wanted.needs.folder(out)), options.world
    there, begun = world.told([helper.weights_path("last").is_file(), run.state_path.exists()])
    if there:
        if world.leads:
            helper.create_or_verify(wanted.needs.config(), _completed)
        callback.on_note(f"helper: {helper.folder} is there")
    elif begun:
        callback.on_note("helper: its weights are in the stored state")
        return None
    else:
        callback.on_note(f"helper: {helper.folder} is {'continued' if helper.state_path.exists() else 'trained'} first")
        began = time.monotonic()
        _train(wanted.needs, out, callback, True, log, options)
        callback.on_note(f"helper: finished after {duration(time.monotonic() - began)}; now {run.folder}")
    return helper if world.leads else None


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
