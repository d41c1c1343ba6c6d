"""`advdpnp predict` and `advdpnp export`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.command import (
    Answer,
    CodeOfRun,
    DataRoot,
    Switches,
    allow_code_of,
    app,
    command,
    complain,
    showing_progress,
    shown,
)


@command(app, plugins=True)
def predict(
    switches: Switches,
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.")],
    picture: Annotated[Path | None, typer.Option(help="Draw the answers: a .png, .svg or .pdf file.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes are listed.")] = 5,
    neighbors: Annotated[bool, typer.Option(help="Look for the nearest training images.")] = True,
    invert: Annotated[bool, typer.Option("--invert", help="Make dark light, as for ink on paper with MNIST.")] = False,
    checkpoint: Annotated[str | None, typer.Option(help="last (default) or best.")] = None,
    model: CodeOfRun = None,
    data_root: DataRoot = None,
) -> Answer:
    """Tell the class of images: probabilities, distances to the prototypes, nearest training images."""
    allow_code_of(run, model)
    with showing_progress() as callback:
        from advdpnp import api
        from advdpnp.predicting import check_format, predictions_text, write_picture

        if picture is not None:
            check_format(picture)
        found = api.predict(
            run,
            images,
            checkpoint=checkpoint,
            top=top,
            neighbors=5 if neighbors else 0,
            invert=invert,
            device=switches.device,
            data_root=data_root,
            callback=callback,
        )
    if len(found.images) == len(found.failed) == 1:
        raise ValueError(f"{found.failed[0].file}: {found.failed[0].error}")
    text = predictions_text(found)
    if picture is not None and found.predicted:
        drawn = write_picture(found, picture)
        text += f"\n{picture} shows " + ("them" if drawn == len(found.predicted) else f"the first {drawn} of them")
    return Answer(found.json(), text, status=2 if found.failed else 0)


@command(app, plugins=True)
def export(
    switches: Switches,
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    format_: Annotated[
        list[str] | None,
        typer.Option("--format", help="safetensors, torch-export, onnx, robustbench; may be repeated; or all."),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="last (default) or best.")] = None,
    license_: Annotated[str, typer.Option("--license", help="License of the weights.")] = "MIT",
    link: Annotated[str, typer.Option(help="RobustBench: link to the paper.")] = "",
    name: Annotated[str, typer.Option(help="RobustBench: title of the paper.")] = "",
    authors: Annotated[str, typer.Option(help="RobustBench: names of the authors.")] = "",
    venue: Annotated[str, typer.Option(help="RobustBench: where the paper appeared.")] = "",
    images: Annotated[int, typer.Option(min=1, help="Test images on which every file must agree.")] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Replace an export of another model.")] = False,
    model: CodeOfRun = None,
    data_root: DataRoot = None,
) -> Answer:
    """Write a classifier with a model card for other programs: safetensors, torch.export, ONNX, RobustBench."""
    from advdpnp import api
    from advdpnp.exporting import PaperReference
    from advdpnp.runs import Run

    allow_code_of(run, model)
    if switches.device not in (None, "cpu"):
        raise ValueError(f"an export is made on the CPU; got --device {switches.device}: leave --device out")
    written = api.export(
        run,
        out,
        format_ or ["safetensors"],
        checkpoint=api.chosen_checkpoint(Run(run), checkpoint, complain),
        license=license_,
        reference=PaperReference(link, name, authors, venue),
        force=force,
        images=images,
        data_root=data_root,
    )
    lines = [f"{file['bytes']:>12,}  {out / file['name']}" for file in written["files"]]
    lines += [f"{file['name']}: {file['checked']}" for file in written["files"] if file["checked"]]
    lines += [f"left out: {name}: {reason}" for name, reason in written["left_out"].items()]
    return Answer(written, "\n".join(lines), next=(shown("predict", out, "IMAGE.png"), shown("evaluate", out)))
