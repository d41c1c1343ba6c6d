"""`advdpnp train`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.app import app
from advdpnp.cli.command import Answer, DataRoot, Resume, Switches, command, watching


@command(app)
def train(
    switches: Switches,
    name: Annotated[str, typer.Argument(help="data/backbone/defense, as in cifar10/resnet18/adv-dpnp.")],
    recipe: Annotated[str, typer.Option(help="paper, or default (with held-out images).")] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file with fields to override.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Field to override: recipe.epochs=2.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    tag: Annotated[str, typer.Option("--name", help="Tells variants of one defense apart.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    resume: Resume = False,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard event files.")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="How much work a kill may cost.")] = 60.0,
    data_root: DataRoot = None,
) -> Answer:
    """Train a classifier into runs/<data>/<backbone>/<defense>/seed-<n>."""
    from advdpnp import api
    from advdpnp.experiments import experiment, read_changes
    from advdpnp.progress import TensorBoard

    wanted = experiment(name, recipe, seed, tag, read_changes(config) if config else None, set_ or ())
    with watching() as observer:
        if tensorboard is not None:
            observer = TensorBoard(observer, str(tensorboard))
        run = api.train(
            wanted,
            out,
            device=switches.device,
            data_root=data_root,
            resume=resume,
            observer=observer,
            checkpoint_seconds=checkpoint_seconds,
        )
    return Answer({"run": str(run.folder), "last_epoch": run.epochs()[-1]}, str(run.folder))
