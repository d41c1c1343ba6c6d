"""The command line: a list of options; `advdpnp.api` does the work. `--help` imports neither torch nor numpy."""

import sys
import warnings
from typing import Annotated

import typer

from advdpnp.cli import data, demo, evaluate, export, names, predict, results, show, speed, train
from advdpnp.cli.app import app
from advdpnp.cli.command import complain

# Importing a module registers its commands; help lists them in this order.
MODULES = (train, evaluate, predict, results, export, demo, speed, show, names, data)
app.registered_commands.sort(key=lambda info: [module.__name__ for module in MODULES].index(info.callback.__module__))


def _print_version(wanted: bool) -> None:
    if wanted:
        from advdpnp import __version__

        print(f"advdpnp {__version__}")
        raise typer.Exit


@app.callback()
def _whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Entry point."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr, flush=True)
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        complain("interrupted")
        raise SystemExit(130) from None
