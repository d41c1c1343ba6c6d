"""`advdpnp sweep`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advdpnp.cli.command import Answer, DataRoot, Switches, app, command, complain, shown

if TYPE_CHECKING:
    from advdpnp.sweeping.means import Means
    from advdpnp.sweeping.runner import Runner


MODES = ("run", "resume", "plan", "status")


@command(app, plugins=True)
def sweep(
    switches: Switches,
    file: Annotated[Path, typer.Argument(help="YAML file: experiments (methods, seeds, settings) and suites.")],
    mode: Annotated[str, typer.Argument(help="run (the same as resume), plan, or status.")] = "run",
    out: Annotated[Path | None, typer.Option(help="Folder of all runs, in place of the file's.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time; by default one for each GPU, or core.")
    ] = None,
    on: Annotated[
        str, typer.Option(help="local, or ray: the cluster that this runs in, or one on this machine.")
    ] = "local",
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 60.0,
    data_root: DataRoot = None,
) -> Answer:
    """Train and evaluate many runs; called again, go on with what is left. Exit status 1 if any of them failed."""
    if mode not in MODES:
        raise ValueError(f"expected {', '.join(MODES)} after the file, as in sweep FILE.yaml status; got {mode!r}")
    if on not in ("local", "ray"):
        raise ValueError(f"--on must be local or ray; got {on!r}")
    if on == "ray" and mode in ("run", "resume"):
        from advdpnp.sweeping.on_ray import check_installed

        check_installed()
    from advdpnp.experiments.plugins import read_references
    from advdpnp.sweeping.drive import Drive
    from advdpnp.sweeping.means import Means
    from advdpnp.sweeping.needed_data import check_data
    from advdpnp.sweeping.plan import make_plan
    from advdpnp.sweeping.states import closing_lines, counts_text, read_states, states_lines, states_value
    from advdpnp.sweeping.sweep_file import read_sweep

    wanted = read_sweep(file)
    folder = out or wanted.out
    if on == "ray":
        # Processes on other nodes begin elsewhere.
        folder, data_root = folder.absolute(), data_root and data_root.absolute()
    tasks, problems = make_plan(wanted, folder, data_root, complain), dict[str, str]()
    if mode in ("run", "resume"):
        if on == "local":
            # On a cluster the files may be where the tasks run, and not here.
            check_data(tasks, data_root)
        means = Means(switches.device, switches.threads or 1, data_root, checkpoint_seconds, tuple(read_references()))
        drive = Drive(tasks, _runner(on, means, workers, folder), complain)
        drive.run()
        problems = drive.failed
    states = read_states(tasks, problems)
    failed = any(status.state == "failed" for _, status in states)
    then = (shown("report", folder),) if all(status.state == "finished" for _, status in states) else ()
    lines = states_lines(states) if mode in ("plan", "status") else closing_lines(states)
    text = "\n".join([*lines, counts_text(states)])
    return Answer(states_value(states), text, int(failed and mode != "plan"), then)


def _runner(on: str, means: "Means", workers: int | None, out: Path) -> "Runner":
    from advdpnp.sweeping.local import LocalRunner, gpus_of, usual_workers

    if on == "ray":
        from advdpnp.sweeping.on_ray import RayRunner

        return RayRunner(means, out, workers)
    gpus = gpus_of(means.device)
    return LocalRunner(means, workers or usual_workers(gpus, means.threads or 1), gpus)
