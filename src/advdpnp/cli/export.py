"""`advdpnp export`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.app import app
from advdpnp.cli.command import Answer, DataRoot, Switches, command


@command(app)
def export(
    switches: Switches,
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    format_: Annotated[
        list[str] | None,
        typer.Option("--format", help="safetensors, torch-export, onnx, robustbench; may be repeated; or all."),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="last or best.")] = "last",
    license_: Annotated[str, typer.Option("--license", help="License of the weights.")] = "MIT",
    link: Annotated[str, typer.Option(help="RobustBench: link to the paper.")] = "",
    name: Annotated[str, typer.Option(help="RobustBench: title of the paper.")] = "",
    authors: Annotated[str, typer.Option(help="RobustBench: names of the authors.")] = "",
    venue: Annotated[str, typer.Option(help="RobustBench: where the paper appeared.")] = "",
    images: Annotated[int, typer.Option(min=1, help="Test images on which every file must agree.")] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Replace an export of another model.")] = False,
    data_root: DataRoot = None,
) -> Answer:
    """Write a classifier with a model card for other programs: safetensors, torch.export, ONNX, RobustBench."""
    from advdpnp import api
    from advdpnp.interchange import Claim

    if switches.device not in (None, "cpu"):
        raise ValueError(f"an export is made on the CPU; got --device {switches.device}: leave --device out")
    written = api.export(
        run,
        out,
        format_ or ["safetensors"],
        checkpoint=checkpoint,
        license=license_,
        claim=Claim(link, name, authors, venue),
        force=force,
        images=images,
        data_root=data_root,
    )
    lines = [f"{file['bytes']:>12,}  {out / file['name']}" for file in written["files"]]
    lines += [f"{file['name']}: {file['checked']}" for file in written["files"] if file["checked"]]
    lines += [f"left out: {name}: {reason}" for name, reason in written["left_out"].items()]
    return Answer(written, "\n".join(lines))
