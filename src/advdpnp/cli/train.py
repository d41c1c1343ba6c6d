"""`advdpnp train`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.command import (
    FOLDER,
    Answer,
    DataRoot,
    ImageSize,
    Resume,
    SkipBroken,
    SplitSeed,
    Switches,
    app,
    command,
    facts_of,
    showing_progress,
)


@command(app, plugins=True)
def train(
    switches: Switches,
    name: Annotated[
        str | None, typer.Argument(help="data/backbone/defense, as in cifar10/resnet18/adv-dpnp; or --data.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="In place of the name: folder:PATH, or a data set.")] = None,
    model: Annotated[str | None, typer.Option(help="With --data: backbone; by default resnet18.")] = None,
    defense: Annotated[str | None, typer.Option(help="With --data: method; by default adv-dpnp.")] = None,
    image_size: ImageSize = None,
    split_seed: SplitSeed = 0,
    skip_broken: SkipBroken = False,
    recipe: Annotated[str, typer.Option(help="paper, official, or default (with held-out images).")] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file with fields to override.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Field to override: recipe.epochs=2.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    tag: Annotated[str, typer.Option("--name", help="Tells variants of one defense apart.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    resume: Resume = False,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard event files.")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 60.0,
    cudnn_benchmark: Annotated[
        bool, typer.Option("--cudnn-benchmark", help="On a GPU: try cuDNN's algorithms and keep the fastest.")
    ] = False,
    data_root: DataRoot = None,
) -> Answer:
    """Train a classifier into runs/<data>/<backbone>/<defense>/seed-<n>."""
    from advdpnp import api
    from advdpnp.experiments import experiment, experiment_on, read_changes
    from advdpnp.progress import TensorBoard

    _check_names(name, data, model, defense)
    options = recipe, seed, tag, read_changes(config) if config else None, set_ or ()
    with showing_progress() as callback:
        if data is None:
            wanted = experiment(name or "", *options)
        else:
            facts = facts_of(data, image_size, split_seed, skip_broken, data_root, callback.on_note)
            wanted = experiment_on(facts, model or "resnet18", defense or "adv-dpnp", *options)
        if tensorboard is not None:
            callback = TensorBoard(callback, str(tensorboard))
        run = api.train(
            wanted,
            out,
            device=switches.device,
            data_root=data_root,
            resume=resume,
            callback=callback,
            checkpoint_seconds=checkpoint_seconds,
            benchmark_cudnn=cudnn_benchmark,
        )
    return Answer({"run": str(run.folder), "last_epoch": run.epochs()[-1]}, str(run.folder))


def _check_names(name: str | None, data: str | None, model: str | None, defense: str | None) -> None:
    if (name is None) == (data is None) or (name and (model or defense)):
        raise ValueError(
            "expected a name such as cifar10/resnet18/adv-dpnp, or --data with --model and --defense; "
            f"got {'both' if name else 'neither'}: give one of them"
        )
    if name and name.startswith(FOLDER):
        raise ValueError(f"a folder is given as --data {FOLDER}PATH, with --model and --defense; got the name {name!r}")
