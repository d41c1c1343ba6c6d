"""`advdpnp predict`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.app import app
from advdpnp.cli.command import Answer, DataRoot, Switches, command, watching


@command(app)
def predict(
    switches: Switches,
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.")],
    picture: Annotated[Path | None, typer.Option(help="Draw the answers: a .png, .svg or .pdf file.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes are listed.")] = 5,
    neighbors: Annotated[bool, typer.Option(help="Look for the nearest training images.")] = True,
    invert: Annotated[bool, typer.Option("--invert", help="Make dark light, as for ink on paper with MNIST.")] = False,
    checkpoint: Annotated[str, typer.Option(help="last or best.")] = "last",
    data_root: DataRoot = None,
) -> Answer:
    """Tell the class of images: probabilities, distances to the prototypes, nearest training images."""
    from advdpnp import api
    from advdpnp.prediction import check_format, predictions_text, write_picture

    if picture is not None:
        check_format(picture)
    with watching() as listener:
        found = api.predict(
            run,
            images,
            checkpoint=checkpoint,
            top=top,
            neighbors=5 if neighbors else 0,
            invert=invert,
            device=switches.device,
            data_root=data_root,
            listener=listener,
        )
    if len(found.images) == len(found.failed) == 1:
        raise ValueError(f"{found.failed[0].file}: {found.failed[0].error}")
    text = predictions_text(found)
    if picture is not None and found.predicted:
        drawn = write_picture(found, picture)
        text += f"\n{picture} shows " + ("them" if drawn == len(found.predicted) else f"the first {drawn} of them")
    return Answer(found.json(), text, status=2 if found.failed else 0)
