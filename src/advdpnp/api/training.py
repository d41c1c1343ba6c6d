"""From an experiment to a trained run."""

from pathlib import Path

import torch

from advdpnp import data
from advdpnp.api.environment import check_environment, environment, resolve_device, use_tf32
from advdpnp.experiments import Experiment, experiment
from advdpnp.progress import Silent
from advdpnp.runs import Run
from advdpnp.training import Observer, Task, fit


def make_task(wanted: Experiment, device: torch.device, data_root: Path | None = None) -> Task:
    """Network and images of an experiment, on the device."""
    recipe = wanted.recipe
    images = data.load(wanted.data, "train", data_root)
    held = data.stratified(images.labels, recipe.holdout, "holdout") if recipe.holdout else None
    rest = torch.arange(len(images))
    if held is not None:
        rest = rest[~torch.isin(rest, held)]
    if recipe.train_images:
        rest = rest[data.stratified(images.labels[rest], recipe.train_images, "train-images")]
    return Task(
        model=wanted.build().to(device),
        defense=wanted.defense,
        recipe=recipe,
        train=images.select(rest).to(device),
        holdout=None if held is None else images.select(held).to(device),
        seed=wanted.seed,
    )


def train(
    what: Experiment | str,
    out: Path | str = "runs",
    *,
    device: str | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    checkpoint_seconds: float = 60.0,
) -> Run:
    """Train an experiment into its run folder.

    Args:
        what: an experiment, or its name, such as "digits/tiny/adv-dpnp".
        out: folder of all runs.
        device: torch device; by default the GPU where there is one.
        data_root: folder of the data files; see `advdpnp.data.data_root`.
        resume: continue an interrupted run; one that is finished stays as it is.
        observer: told of every step and epoch.
        checkpoint_seconds: how much work a kill may cost.
    Raises:
        ValueError: the folder holds another configuration, or this one without `resume`.
    """
    wanted = experiment(what) if isinstance(what, str) else what
    on = resolve_device(device)
    run = Run(wanted.folder(Path(out)))
    if (run.folder / "config.json").exists() and not resume:
        run.claim(wanted.config())
        raise ValueError(f"{run.folder} exists: add --resume to continue it, or --name to start another beside it")
    use_tf32(wanted.recipe.precision == "tf32")
    task = make_task(wanted, on, data_root)
    run.claim(wanted.config())
    run.sweep()
    check_environment(run, environment(on))
    fit(task, run, observer or Silent(), resume, checkpoint_seconds)
    return run
