"""`advdpnp compare` and `advdpnp report`, from stored results."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.command import Answer, Switches, app, command, complain


@command(app)
def compare(
    switches: Switches,
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another run.")],
    suite: Annotated[str, typer.Option(help="Protocol that both were evaluated with.")] = "quick",
) -> Answer:
    """Test two runs against each other on the same images (exact McNemar)."""
    from advdpnp import api
    from advdpnp.progress import comparison_text

    rows = api.compare(first, second, suite)
    return Answer(rows, comparison_text(rows))


@command(app)
def report(
    switches: Switches,
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold runs.")],
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("report"),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    formats: Annotated[str, typer.Option(help="Of the files in figures/: some of svg,png,pdf.")] = "svg",
) -> Answer:
    """Write one self-contained HTML page, CSV, LaTeX, Markdown and figures from stored results."""
    from advdpnp.report import write_report
    from advdpnp.report.run_folders import run_folders

    kinds = [kind.strip() for kind in formats.split(",")]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        page = write_report(run_folders(runs), out, title, kinds)
    for one in said:
        complain(str(one.message))
    return Answer({"page": str(page)}, str(page), next=(f"open {page.resolve()} in a browser",))
