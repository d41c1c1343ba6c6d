"""`advdpnp list`."""

from typing import Annotated

import typer

from advdpnp.cli.app import app
from advdpnp.cli.command import Answer, Switches, command


@command(app, "list")
def list_names(
    switches: Switches,
    kind: Annotated[str, typer.Argument(help="defenses, attacks, suites, data, models, recipes; all by default.")] = "",
) -> Answer:
    """List what the other commands know by name."""
    from advdpnp.catalog import catalog, catalog_text

    tables = catalog(kind)
    return Answer(tables, catalog_text(tables))
