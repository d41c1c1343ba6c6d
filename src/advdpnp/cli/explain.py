"""`advdpnp explain`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from advdpnp.cli import network
from advdpnp.cli.command import (
    Answer,
    CodeOfRun,
    DataRoot,
    Switches,
    allow_code_of,
    app,
    command,
    showing_progress,
)


@command(app, plugins=True)
def explain(
    switches: Switches,
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders, and test:17 or test:0-3,17 for images of its test set.")
    ],
    label: Annotated[
        list[str] | None, typer.Option(help="True class of the files, for all or repeated for each.")
    ] = None,
    attack: Annotated[
        str | None,
        typer.Option(help="What looks for adversarial images, as cw-l2 or pgd:steps=100; by default min-eps."),
    ] = None,
    norm: Annotated[str | None, typer.Option(help="Its norm: linf (default), l2 or l1.")] = None,
    target: Annotated[str | None, typer.Option(help="The class that images shall become, by name or number.")] = None,
    neighbors: Annotated[int, typer.Option(min=0, help="How many training images are listed.")] = 5,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("explanation"),
    invert: Annotated[bool, typer.Option("--invert", help="Make dark light, as for ink on paper with MNIST.")] = False,
    checkpoint: network.Checkpoint = None,
    model: CodeOfRun = None,
    data_root: DataRoot = None,
) -> Answer:
    """Tell why: prototypes, nearest training and adversarial images, reject score, as a page and a picture."""
    allow_code_of(run, model)
    with showing_progress() as callback:
        from advdpnp import api
        from advdpnp.explaining import explanations_text

        how: dict[str, Any] = {"norm": norm, "target": target, "device": switches.device, "data_root": data_root}
        found = api.explain(
            run,
            images,
            label=label,
            attack=attack,
            neighbors=neighbors,
            checkpoint=checkpoint,
            invert=invert,
            out=out,
            callback=callback,
            **how,
        )
    page = out / "index.html"
    text = f"{explanations_text(found)}\n{page}"
    return Answer(found.json(), text, status=2 if found.failed else 0, next=(f"open {page.resolve()} in a browser",))
