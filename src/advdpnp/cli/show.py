"""`advdpnp show`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.app import app
from advdpnp.cli.command import Answer, Switches, command


@command(app)
def show(
    switches: Switches,
    name: Annotated[str, typer.Argument(help="data/backbone/defense, as in cifar10/resnet18/mart.")],
    recipe: Annotated[str, typer.Option(help="paper, official (of the defense's authors), or default.")] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file with fields to override.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Field to override: recipe.epochs=2.")] = None,
) -> Answer:
    """Print the whole configuration that `train` would run with, as YAML; parts of it are what --config takes."""
    import yaml

    from advdpnp.experiments import experiment, read_changes

    values = experiment(name, recipe, changes=read_changes(config) if config else None, settings=set_ or ()).config()
    return Answer(values, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())
