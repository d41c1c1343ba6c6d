"""The command line. Imports what a command needs only when it runs, so that --help is quick."""

import contextlib
import errno
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Train, attack, measure and explain image classifiers that stay right under attack.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Check and describe data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Device = Annotated[str | None, typer.Option(help="torch device; by default the GPU where there is one.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; part of what bitwise resume depends on.")]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of data files [default: $ADVDPNP_DATA, else user cache].")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what was interrupted.")]


@app.callback()
def common(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False) -> None:
    pass


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@contextlib.contextmanager
def _watching() -> Iterator[Any]:
    from advdpnp.progress import Bars, Lines

    if sys.stderr.isatty() and sys.stdout.isatty():
        with Bars() as bars:
            yield bars
    else:
        yield Lines()


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="data/backbone/defense, as in cifar10/resnet18/adv-dpnp.")],
    recipe: Annotated[str, typer.Option(help="paper, or default (with held-out images).")] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file with fields to override.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Field to override: recipe.epochs=2.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    tag: Annotated[str, typer.Option("--name", help="Tells variants of one defense apart.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    resume: Resume = False,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard event files.")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="How much work a kill may cost.")] = 60.0,
    data_root: DataRoot = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Train a classifier into runs/<data>/<backbone>/<defense>/seed-<n>."""
    from advdpnp import api
    from advdpnp.experiments import experiment, read_changes
    from advdpnp.progress import TensorBoard

    _use_threads(threads)
    wanted = experiment(name, recipe, seed, tag, read_changes(config) if config else None, set_ or ())
    with _watching() as observer:
        if tensorboard is not None:
            observer = TensorBoard(observer, str(tensorboard))
        run = api.train(
            wanted,
            out,
            device=device,
            data_root=data_root,
            resume=resume,
            observer=observer,
            checkpoint_seconds=checkpoint_seconds,
        )
    print(run.folder)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    suite: Annotated[str, typer.Option(help="Protocol; see `advdpnp list suites`.")] = "quick",
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many test images.")] = None,
    checkpoint: Annotated[str, typer.Option(help="last or best.")] = "last",
    resume: Resume = False,
    data_root: DataRoot = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Attack a trained classifier; writes RUN/eval/SUITE.json."""
    from advdpnp import api
    from advdpnp.progress import result_text

    _use_threads(threads)
    with _watching() as listener:
        result = api.evaluate(
            run,
            suite,
            limit=limit,
            checkpoint=checkpoint,
            device=device,
            data_root=data_root,
            resume=resume,
            listener=listener,
        )
    print(result_text(result))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another run.")],
    suite: Annotated[str, typer.Option(help="Protocol that both were evaluated with.")] = "quick",
) -> None:
    """Test two runs against each other on the same images (exact McNemar)."""
    from advdpnp import api
    from advdpnp.progress import comparison_text

    print(comparison_text(api.compare(first, second, suite)))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold runs.")],
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("report"),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
) -> None:
    """Write one self-contained HTML page, CSV, LaTeX and figures from stored results."""
    from advdpnp.report import write_report
    from advdpnp.runs import list_runs

    print(write_report([folder for path in runs for folder in list_runs(path)], out, title))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("report"),
    runs: Annotated[Path, typer.Option(help="Folder of the demo's runs.")] = Path("demo-runs"),
    threads: Threads = None,
) -> None:
    """Train ST, AT, TRADES and Adv-DPNP on the embedded digits, attack them, and write a report. About 2 minutes."""
    from advdpnp.demo import run_demo

    _use_threads(threads)
    page = run_demo(out, runs)
    print(f"The report is at {page.resolve()}")


@app.command()
def bench(
    models: Annotated[list[str] | None, typer.Argument(help="Networks; by default what suits the device.")] = None,
    out: Annotated[Path, typer.Option(help="JSON file of the result.")] = Path("bench.json"),
    batch: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 128,
    steps: Annotated[int, typer.Option(min=1, help="Iterations of the attack.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Timings of each rung, taken in turn.")] = 5,
    minutes: Annotated[float, typer.Option(min=0, help="After them no rung is begun.")] = 5.0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Measure the speed ladder on this machine: naive, folded, bf16, compiled, captured."""
    from advdpnp.api import resolve_device
    from advdpnp.bench import bench_text, run_bench

    _use_threads(threads)
    on = resolve_device(device)
    chosen = models or (["resnet18", "wrn-34-10"] if on.type == "cuda" else ["resnet8"])
    print(bench_text(run_bench(chosen, on, batch, steps, repeats, out, minutes)))


@app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(help="defenses, attacks, suites, data, models, recipes; all by default.")] = "",
) -> None:
    """List what the other commands know by name."""
    from advdpnp.catalog import catalog

    for line in catalog(kind):
        print(line)


@data_app.command()
def check(name: Annotated[str, typer.Argument(help="Data set.")], data_root: DataRoot = None) -> None:
    """Verify the MD5 sums of a data set's files."""
    from advdpnp import data

    checks = data.check(name, data.data_root(data_root))
    if not checks:
        print(f"{name}: {data.describe(name)['files']}, so there is nothing to check")
    for file in checks:
        print(file.text())
    if not all(file.ok for file in checks):
        raise typer.Exit(2)


@data_app.command()
def describe(name: Annotated[str, typer.Argument(help="Data set.")]) -> None:
    """Facts about a data set."""
    from advdpnp import data

    for key, value in data.describe(name).items():
        print(f"{key:>16}  {value}")


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left to write {error.filename}: free some, or choose another --out; nothing was overwritten"
    return " ".join(str(error).split()) or type(error).__name__


def main() -> None:
    """Entry point: errors of the user become one line and exit status 2."""
    debug = "--debug" in sys.argv
    # Wherever it stands on the command line.
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        app(standalone_mode=True)
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f"advdpnp: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("advdpnp: interrupted; --resume continues", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
