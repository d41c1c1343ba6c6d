"""The command line: a list of options; `advdpnp.api` does the work. `--help` imports neither torch nor numpy."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli import audit as audit
from advdpnp.cli import data, deploy, evaluate, explain, illustrate, ood, results, sweep, tools, train, watch, weights
from advdpnp.cli.command import app, complain, on_terminal
from advdpnp.launch import launch
from advdpnp.signals import exit_status, raised_when_terminated

# Importing a module registers its commands.
MODULES = (train, sweep, watch, evaluate, audit, ood, illustrate, results, deploy, explain, tools, data, weights)
ORDER = (
    "train",
    "sweep",
    "watch",
    "evaluate",
    "audit",
    "ood",
    "illustrate",
    "predict",
    "explain",
    "compare",
    "report",
    "export",
    "demo",
    "bench",
    "show",
    "list",
)
app.registered_commands.sort(key=lambda info: ORDER.index(info.name or getattr(info.callback, "__name__", "")))


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


@contextlib.contextmanager
def _quiet_unless_first() -> Iterator[None]:
    """Of several ranks the first one prints; what only another has to say, it says in spite of this."""
    if launch().rank == 0:
        yield
        return
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {on_terminal(str(message))}", file=sys.stderr, flush=True)


def main() -> None:
    """Entry point."""
    warnings.showwarning = _warn
    try:
        with raised_when_terminated(), _quiet_unless_first():
            app(standalone_mode=True)
    except KeyboardInterrupt as interrupt:
        if launch().rank == 0:
            complain("interrupted")
        raise SystemExit(exit_status(interrupt)) from None
