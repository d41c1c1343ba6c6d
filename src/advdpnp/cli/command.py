"""What all commands share: options, the result as text or JSON, and the exit on an error or Ctrl-C."""

import contextlib
import errno
import functools
import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from advdpnp.allocator import keep_freed_memory
from advdpnp.checksums import one_warning
from advdpnp.launch import RankError, ToldByAnotherRank, launch
from advdpnp.signals import exit_status
from advdpnp.stored_values import shown_text

app = typer.Typer(
    help="Train, attack, measure and explain image classifiers that stay right under attack.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Download, check and describe data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
weights_app = typer.Typer(help="Convert checkpoints of other programs.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")


Device = Annotated[str | None, typer.Option(help="torch device; by default the GPU where there is one.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; part of what bitwise resume depends on.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON; messages go to the error stream.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]

DataRoot = Annotated[Path | None, typer.Option(help="Folder of data files; by default $ADVDPNP_DATA, else a cache.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what was interrupted.")]

# More than any machine has cores.
_MOST_THREADS = 4096

# Of a message, in characters.
_LONGEST = 1000

# Options for a folder of images.
ImageSize = Annotated[
    int | None,
    typer.Option(help="Side of a folder's images; by default 32, or that of a network of timm's."),
]
SplitSeed = Annotated[int, typer.Option(help="Seed of the choice of a folder's test images.")]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Leave out images that cannot be read.")]

Untrained = Annotated[
    bool, typer.Option("--untrained", help="Weights by chance, where timm or torchvision has pretrained ones.")
]

Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="On a GPU: the same bits each time, by algorithms that take longer.")
]

CodeOfRun = Annotated[
    str | None, typer.Option("--model", help="FILE.py:callable, for a run that was trained with such a network.")
]

_COMMON: dict[str, tuple[Any, Any]] = {
    "device": (Device, None),
    "threads": (Threads, None),
    "json": (AsJson, False),
    "debug": (Debug, False),
}
_Plugin = Annotated[list[str] | None, typer.Option(help="Defense from elsewhere: pkg.module:Class or file.py:Class.")]
_PLUGINS: dict[str, tuple[Any, Any]] = {"plugin": (_Plugin, None)}


@dataclass(frozen=True)
class Switches:
    """The options that every command has.

    Args:
        device: torch device, or None for the GPU where there is one.
        threads: CPU threads, set already; None leaves torch's own count.
        json: whether the result is printed as JSON.
        debug: whether errors show tracebacks.
    """

    device: str | None = None
    threads: int | None = None
    json: bool = False
    debug: bool = False


@dataclass(frozen=True)
class Answer:
    """The result of a command.

    Args:
        value: JSON values, for --json.
        text: the same for people.
        status: exit status.
        next: commands, or what else one may do now, told after the text on the error stream.
    """

    value: Any
    text: str
    status: int = 0
    next: tuple[str, ...] = ()


def command(
    app: typer.Typer, name: str | None = None, plugins: bool = False
) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register a function whose first parameter is its `Switches` as a command with the common options.

    Args:
        app: the command's group.
        name: what it is called; by default as the function is.
        plugins: whether it takes defenses from elsewhere, which are known when the function is called.
    """

    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        app.command(name)(_with_switches(function, plugins))
        return function

    return register


@contextlib.contextmanager
def showing_progress() -> Iterator[Any]:
    """The callback that shows the progress of a long command: bars on a terminal, plain lines elsewhere."""
    from advdpnp.progress import Bars, Lines

    if sys.stderr.isatty() and sys.stdout.isatty():
        with Bars() as bars:
            yield bars
    else:
        lines = Lines()
        if "torch" not in sys.modules:
            lines.on_note("loading torch")
        yield lines


def allow_named(reference: str) -> None:
    """Let this command run the code of a callable that its user names."""
    from advdpnp.external import allow
    from advdpnp.models.libraries import is_library_name

    if ":" in reference and not is_library_name(reference):
        allow(reference)


def allow_code_of(run: Path, model: str | None) -> None:
    """Let this command run the code that a run's network is of; its configuration alone cannot."""
    from advdpnp.external import allow
    from advdpnp.models.libraries import is_library_name
    from advdpnp.runs import Run

    if model is None:
        return
    stored = str(Run(run).config().get("backbone"))
    if ":" not in stored or is_library_name(stored):
        raise ValueError(f"the network of {run} is {stored}, which needs no code: leave --model out")
    if is_library_name(model):
        raise ValueError(f"the network of {run} is the code {stored}: give it as --model; got {model}")
    allow(model, stored)


def numbers(option: str, text: str | None) -> tuple[float, ...]:
    """The numbers, or fractions, of an option such as --mean, which have commas between them."""
    from advdpnp.ranges import parse_eps

    try:
        return tuple(parse_eps(part.strip()) for part in text.split(",")) if text else ()
    except ValueError:
        raise ValueError(
            f"{option} must be numbers with commas, as 0.4914,0.4822,0.4465, or fractions, as 125.3/255; got {text!r}"
        ) from None


def shown(*arguments: str | Path) -> str:
    """A command of ours as it is typed, quoted as this system's shell has it."""
    words = ["advdpnp", *map(str, arguments)]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def on_terminal(text: str) -> str:
    """A text without what steers a terminal, as names of files, classes and runs may hold; lines and tabs stay."""
    return shown_text(text).replace("\r", "\ufffd")


def complain(line: str, stream: TextIO | None = None) -> None:
    """One line for the user, by default on the error stream."""
    print(f"advdpnp: {on_terminal(line)}", file=stream or sys.stderr, flush=True)


def one_line(error: BaseException) -> str:
    """The message of an error, on one line."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left to write {error.filename}: free some, or choose another --out; nothing was overwritten"
    line = " ".join(str(error).split()) or type(error).__name__
    # What came may be of any length; what was expected stands before it, and the cure after it.
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"


def _with_switches(function: Callable[..., Answer], plugins: bool) -> Callable[..., None]:
    _, *own = inspect.signature(function).parameters.values()
    resumes = any(parameter.name == "resume" for parameter in own)

    @functools.wraps(function)
    def run(**values: Any) -> None:
        switches = Switches(**{name: values.pop(name) for name in _COMMON})
        references = values.pop("plugin", None) or []
        with _ending(switches.debug, resumes), one_warning():
            _check_launch(function.__name__)
            _use_threads(switches.threads)
            keep_freed_memory()
            _read_plugins(references)
            # Code of others may print, and JSON is all that stands on the output.
            with contextlib.redirect_stdout(sys.stderr) if switches.json else contextlib.nullcontext():
                answer = function(switches, **values)
            # What names hold would steer a terminal: names of runs, classes and files are anyone's.
            _say(json.dumps(answer.value, indent=1, allow_nan=False) if switches.json else on_terminal(answer.text))
        if answer.next and not switches.json:
            lines = ["next:", *(f"  {line}" for line in answer.next)]
            print(on_terminal("\n".join(lines)), file=sys.stderr, flush=True)
        if answer.status:
            raise typer.Exit(answer.status)

    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in (_COMMON | (_PLUGINS if plugins else {})).items()
    ]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    # typer reads both.
    run.__signature__ = inspect.Signature([*keyword_only, *common])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*keyword_only, *common]}
    return run


def _say(text: str) -> None:
    """An answer on standard output, which may be a file on a full disk, or a pipe whose reader has enough."""
    try:
        print(text, flush=True)
    except OSError as error:
        drop_output()
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(128 + signal.SIGPIPE) from None
        raise OSError(error.errno, error.strerror, "standard output") from None


def drop_output() -> None:
    """Print nothing any more: what could not be written would be tried, and fail, again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check_launch(name: str) -> None:
    if name != "train" and (ranks := launch().size) > 1:
        raise ValueError(f"torchrun is for advdpnp train; got {name} on {ranks} ranks: run it without torchrun")


def _read_plugins(references: Sequence[str]) -> None:
    for reference in references:
        from advdpnp.experiments import read_plugin

        read_plugin(reference)


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        if threads > _MOST_THREADS:
            raise ValueError(f"--threads must be at most {_MOST_THREADS}; got {threads}")
        import torch

        torch.set_num_threads(threads)


@contextlib.contextmanager
def _ending(debug: bool, resumes: bool) -> Iterator[None]:
    """Errors of the user become one line and exit status 2; Ctrl-C and SIGTERM say how to go on."""
    try:
        yield
    except (ValueError, OSError) as error:
        if debug:
            raise
        complain(one_line(error), sys.__stderr__ if isinstance(error, RankError) else None)
        raise typer.Exit(2) from None
    except SystemExit as stop:
        # Of the code of a network, say: it would end the command half-way, with a status that may say that all is well.
        if debug or isinstance(stop, ToldByAnotherRank):
            raise
        complain(f"code that was named called sys.exit({stop.code!r}) half-way: have it raise an error, or return")
        raise typer.Exit(2) from None
    except KeyboardInterrupt as interrupt:
        arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
        again = shown(*arguments, *(["--resume"] if resumes else []))
        if launch().size > 1:
            again = f"the same torchrun command, or one with another number of ranks, or {again}"
        complain(f"interrupted; go on with: {again}" if resumes else f"interrupted; run again: {again}")
        raise typer.Exit(exit_status(interrupt)) from None
