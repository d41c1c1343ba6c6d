"""`advdpnp watch`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.command import Answer, Switches, app, command, drop_output


@command(app)
def watch(
    switches: Switches,
    runs: Annotated[list[Path], typer.Argument(help="Run folders, begun or not yet, or folders that hold runs.")],
    once: Annotated[bool, typer.Option("--once", help="Print the table and end; so does --json.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="Between two looks.")] = 1.0,
) -> Answer:
    """Follow trainings while they run: epoch, losses, held-out accuracy, time left. Reads only; Ctrl-C ends it."""
    from advdpnp.watching import Watched, statuses_text, watch_lines, watch_table

    watched = Watched(runs)
    if once or switches.json:
        found = watched.look()
    elif sys.stdout.isatty():
        found = watch_table(watched, seconds)
    else:
        try:
            watch_lines(watched, seconds)
        except BrokenPipeError:
            # What reads has enough, as `head` has.
            drop_output()
        raise typer.Exit
    return Answer([status.value() for status in found], statuses_text(found))
