"""`advdpnp evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from advdpnp.cli.app import app
from advdpnp.cli.command import Answer, DataRoot, Resume, Switches, command, watching


@command(app)
def evaluate(
    switches: Switches,
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    suite: Annotated[str, typer.Option(help="Protocol; see `advdpnp list suites`.")] = "quick",
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many test images.")] = None,
    checkpoint: Annotated[str, typer.Option(help="last or best.")] = "last",
    resume: Resume = False,
    data_root: DataRoot = None,
) -> Answer:
    """Attack a trained classifier; writes RUN/eval/SUITE.json."""
    from advdpnp import api
    from advdpnp.progress import result_text

    with watching() as listener:
        result = api.evaluate(
            run,
            suite,
            limit=limit,
            checkpoint=checkpoint,
            device=switches.device,
            data_root=data_root,
            resume=resume,
            listener=listener,
        )
    return Answer(result, result_text(result))
