"""Trainings watched on a terminal, or as lines in a pipe. It reads files and changes nothing."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from advdpnp.progress import duration, epoch_text
from advdpnp.run_status import RunStatus, read_status, runs_at
from advdpnp.runs import Json

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

# Lines of a terminal that the table's rows do not get.
AROUND = 6
# From so many columns on there is room for the loss terms of several runs.
WIDE = 160
# Of what is no terminal.
ENDLESS = 240


class Watched:
    """The runs at some paths, which may begin, and become more, while they are watched.

    Args:
        paths: of runs, or of folders that hold runs.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._finished: dict[Path, RunStatus] = {}

    def look(self) -> list[RunStatus]:
        """The state of every run; ValueError where a path is a file."""
        folders = dict.fromkeys(folder for path in self._paths for folder in runs_at(path))
        found = [self._finished.get(folder) or read_status(folder) for folder in folders]
        self._finished |= {status.folder: status for status in found if status.state == "finished"}
        return found


def watch_table(watched: Watched, seconds: float) -> list[RunStatus]:
    """Show a table on the terminal until all runs are finished, or until Ctrl-C; returns what was seen last."""
    from rich.console import Console
    from rich.live import Live

    console, found = Console(), watched.look()
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(found: list[RunStatus]) -> None:
            live.update(_view(found, console.width, console.height - AROUND), refresh=True)

        return _follow(watched, found, seconds, show)


def watch_lines(watched: Watched, seconds: float) -> list[RunStatus]:
    """Print each new epoch, and each change of state, in a line, until all runs are finished, or until Ctrl-C."""
    told: dict[Path, tuple[int, str]] = {}

    def show(found: list[RunStatus]) -> None:
        for status in found:
            # What was there before is told by its last line alone.
            done, state = told.get(status.folder, (max(len(status.lines) - 1, 0), ""))
            for line in status.lines[done:]:
                print(f"{_name(status)}  {printable(epoch_text(line))}", flush=True)
            if status.state != state:
                print(_title(status), flush=True)
            told[status.folder] = len(status.lines), status.state

    return _follow(watched, watched.look(), seconds, show)


def _follow(
    watched: Watched, found: list[RunStatus], seconds: float, show: Callable[[list[RunStatus]], None]
) -> list[RunStatus]:
    try:
        show(found)
        while any(status.state != "finished" for status in found):
            time.sleep(seconds)
            found = watched.look()
            show(found)
    except KeyboardInterrupt:
        # The usual way to end it, if one does not wait for the runs.
        pass
    return found


def statuses_text(found: Sequence[RunStatus]) -> str:
    """The table as plain text, as wide as the terminal, or wide where there is none."""
    from rich.console import Console

    text, width = StringIO(), shutil.get_terminal_size((ENDLESS, 24)).columns
    Console(file=text, width=width, color_system=None, force_terminal=False).print(_view(found, width, None))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).rstrip()


def state_text(status: RunStatus) -> str:
    """The state of a run in a few words."""
    match status.state:
        case "not begun":
            return "not begun"
        case "damaged":
            return f"damaged: {printable(status.problem)}"
        case "finished":
            return "finished"
        case "interrupted":
            return f"interrupted, last sign {duration(status.idle)} ago: --resume goes on"
        case "silent":
            return f"silent for {duration(status.idle)}: interrupted? --resume goes on"
    return "in its first epoch" if status.left is None else f"about {duration(status.left)} left"


def printable(text: str) -> str:
    """The text without what would steer a terminal, as a folder's name may."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _name(status: RunStatus) -> str:
    return printable(str(status.folder))


def _done(status: RunStatus) -> str:
    return f"{len(status.lines)}/{status.epochs}" if status.epochs else ""


def _title(status: RunStatus) -> str:
    done = f"epoch {_done(status)}, " if status.epochs else ""
    return f"{_name(status)}  {done}{state_text(status)}"


def _view(found: Sequence[RunStatus], width: int, rows: int | None) -> "Group":
    """A title and a table below it."""
    from rich.console import Group
    from rich.text import Text

    if len(found) == 1:
        table, title = _one_run(found[0], rows), _title(found[0])
    else:
        within = os.path.commonpath([status.folder.parent.absolute() for status in found])
        table, title = _several_runs(found, within, width, rows), f"runs in {printable(within)}"
    return Group(Text(title, "bold"), *([table] if table.columns else []))


def _one_run(status: RunStatus, rows: int | None) -> "Table":
    """The epochs of a run, the last ones where there are more than rows."""
    terms = [name for name in (status.last or {"loss": {}})["loss"] if name != "total"]
    lines = status.lines[-max(rows, 1) :] if rows is not None else status.lines
    # Words, so that a narrow terminal breaks a name where a person would.
    heads = ["epoch", "lr", "loss", *(term.replace("_", " ") for term in terms), "clean", "robust", "s"]
    cells = [
        [
            *[str(line["epoch"]), f"{line['lr']:.3g}"],
            *(f"{line['loss'].get(name, float('nan')):.3f}" for name in ("total", *terms)),
            *[_share(line, "clean_accuracy"), _share(line, "robust_accuracy"), f"{line['seconds']:.1f}"],
        ]
        for line in lines
    ]
    return _filled(heads if lines else [], cells)


def _several_runs(found: Sequence[RunStatus], within: str, width: int, rows: int | None) -> "Table":
    """The last epoch of each run; where there are more than rows, those that are finished are left out first."""
    shown = list(found) if rows is None or len(found) <= rows else sorted(found, key=lambda s: s.state == "finished")
    heads = ["run", "epoch", "loss", "clean", "robust", "lr", "state", *(["terms"] if width >= WIDE else [])]
    cells = [_row(status, within)[: len(heads)] for status in shown[:rows]]
    if left_out := len(shown) - len(cells):
        cells.append([f"and {left_out} more", *[""] * (len(heads) - 1)])
    return _filled(heads, cells)


def _row(status: RunStatus, within: str) -> list[str]:
    name, line = os.path.relpath(status.folder.absolute(), within), status.last
    if line is None:
        return [name, _done(status), "", "", "", "", state_text(status), ""]
    terms = "  ".join(f"{term} {value:.3f}" for term, value in line["loss"].items() if term != "total")
    shares = [_share(line, measure) for measure in ("clean_accuracy", "robust_accuracy")]
    return [
        name,
        _done(status),
        f"{line['loss']['total']:.3f}",
        *shares,
        f"{line['lr']:.3g}",
        state_text(status),
        terms,
    ]


def _share(line: Json, measure: str) -> str:
    held = line.get("holdout") or {}
    return f"{held[measure]:.1%}" if measure in held else ""


def _filled(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> "Table":
    """A table whose numbers are never cut, however narrow the terminal is."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for at, head in enumerate(heads):
        words = head in ("run", "state", "terms")
        widest = None if words else max(len(row[at]) for row in cells)
        # Text, not str: names are no markup.
        table.add_column(Text(printable(head)), justify="left" if words else "right", overflow="fold", min_width=widest)
    for row in cells:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
