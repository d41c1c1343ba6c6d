"""`advdpnp weights convert`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.command import Answer, Switches, command, weights_app


@command(weights_app)
def convert(
    switches: Switches,
    file: Annotated[Path, typer.Argument(help="Checkpoint: a file of torch.save, or a pickle.")],
    out: Annotated[
        Path | None, typer.Option(help="The .safetensors file to write; by default FILE with that suffix.")
    ] = None,
    weights_key: Annotated[str, typer.Option(help="Write only what lies under this key, as state_dict.model.")] = "",
) -> Answer:
    """Take the tensors out of a checkpoint that holds more; nothing in it is run or imported."""
    from advdpnp.external import convert_weights
    from advdpnp.external.weights import listed

    done = convert_weights(file, out, weights_key)
    value = {
        "file": str(done.out),
        "keys": list(done.keys),
        "tensors": done.tensors,
        "bytes": done.nbytes,
        "left_out": list(done.left_out),
    }
    lines = [f"{done.out}: {done.tensors} tensors, {done.nbytes:,} bytes; nothing of {file} was run"]
    if len(done.keys) > 1:
        lines.append(f"tensors under {listed(done.keys)}; where several fit your network, --weights-key chooses")
    if done.left_out:
        lines.append(f"left out: {listed(done.left_out)}")
    lines.append(f"next: advdpnp evaluate --model net.py:Net --weights {shlex.quote(str(done.out))} --data ...")
    return Answer(value, "\n".join(lines))
