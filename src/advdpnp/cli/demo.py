"""`advdpnp demo`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.app import app
from advdpnp.cli.command import Answer, Switches, command


@command(app)
def demo(
    switches: Switches,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("report"),
    runs: Annotated[Path, typer.Option(help="Folder of the demo's runs.")] = Path("demo-runs"),
    seed: Annotated[int, typer.Option(help="Seed of the training runs.")] = 0,
) -> Answer:
    """Train ST, AT, TRADES and Adv-DPNP on the embedded digits, attack them, and write a report. About 2 minutes."""
    from advdpnp.demo import run_demo

    page = run_demo(out, runs, seed).resolve()
    return Answer({"page": str(page)}, f"The report is at {page}")
