"""Whole files with numbers that cannot be, arrays that are none of ours, and settings that could mean two things.

A report goes on without such a file and names it; that it shows one of these numbers as a fact would be the worst.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from advdpnp.illustrations import SAMPLES, illustration_path
from advdpnp.ood_results import ood_path
from advdpnp.runs import Json, Run
from reliable.malformed import places, row, with_value
from reliable.processes import said

# The last word, or words, of a name, and numbers that nothing of such a name can be.
IMPOSSIBLE: dict[tuple[str, ...], tuple[float, ...]] = {
    ("accuracy", "auroc", "fpr95", "aurc", "accepted", "clean", "claimed", "lowest"): (-0.25, 1.01, 7, 1e300),
    ("degrees",): (-1, 181, 2**53),
    ("seconds", "fdr_eq8", "fdr_trace_ratio", "afs", "scr"): (-1, -1e300),
    ("n", "chunk", "restarts", "dimensions"): (0, -1, 0.5, 1e300),
    ("epoch", "images", "reached", "censored"): (-1, 0.5, 1e300),
}
SETTINGS = (
    "recipe: {epochs: 010}", "recipe: {epochs: 1:30}", "recipe: {epochs: 1, epochs: 2}", "recipe: {lr: .nan}",
    "recipe.epochs: 1\nrecipe: {epochs: 2}", "recipe: &a {attack: *a}", "recipe: {epochs: yes}", "1: 2", "- 1", "",
    "recipe: {epochs: 2001-01-01}", "recipe: !!python/object/apply:os.system [x]", "recipe: " + "[" * 3000, "\0",
)  # fmt: skip


def impossible(run: Run, work: Path, most: int) -> list[Json]:
    """What becomes of them, by kind of file: named and left out, or refused, or else `missed`."""
    files = {
        "a result": run.eval_path("look.json"),
        "a result with geometry": run.eval_path("pgd20.json"),
        "audit.json": run.eval_path("audit.json"),
        "ood.json": ood_path(run),
        "illustration.json": illustration_path(run),
    }
    rows = [_numbers(name, run, path, work / "alone", most) for name, path in files.items()]
    return [*rows, _arrays(run, work / "alone"), _settings(work / "settings.yaml")]


def _numbers(name: str, run: Run, path: Path, alone: Path, most: int) -> Json:
    content, changes = json.loads(path.read_text()), list[tuple[tuple[Any, ...], float]]()
    content.pop("sha256")
    for place in places(content):
        ends = str(next(part for part in reversed(place) if isinstance(part, str)))
        value = _at(content, place)
        if isinstance(value, int | float) and not isinstance(value, bool):
            kinds = (
                odds for names, odds in IMPOSSIBLE.items() if f"_{ends}".endswith(tuple(f"_{one}" for one in names))
            )
            changes += [(place, odd) for odds in kinds for odd in odds]
    outcomes = list[tuple[str, str]]()
    for place, odd in changes[:: max(1, len(changes) // most)]:
        changed = json.dumps(with_value(json.loads(json.dumps(content)), place, odd))
        what = f"{'.'.join(map(str, place))} = {odd}"
        outcomes.append((what, _left_out(run, path, alone, lambda to, text=changed: to.write_text(text))))
    return row(f"{name}, numbers that cannot be", outcomes)


def _at(content: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        content = content[key]
    return content


def _left_out(run: Run, path: Path, alone: Path, write: Callable[[Path], object]) -> str:
    """What a report says of a run that has this file and its configuration alone."""
    shutil.rmtree(alone, ignore_errors=True)
    copied = alone / path.relative_to(run.folder)
    copied.parent.mkdir(parents=True)
    shutil.copy(run.folder / "config.json", alone)
    write(copied)
    try:
        status, _, told = said("report", alone, "--out", alone.with_name("report"))
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:120]
    named = [line for line in told.splitlines() if "left out: " in line and path.name in line]
    return "refused" if status == 0 and len(named) == 1 else f"status {status}, {len(named)} lines"


def _arrays(run: Run, alone: Path) -> Json:
    path = run.eval_path(SAMPLES)
    with np.load(path) as stored:
        whole = dict(stored)
    changes: dict[str, Json] = {
        "an attack in a list": {"attack": whole["attack"].reshape(1)},
        "an attack that is a number": {"attack": np.array(3)},
        "a pixel of 255": {"adversarial": whole["adversarial"] * 0 + 255},
        "a pixel below 0": {"clean": whole["clean"] - 1},
        "a pixel that is none": {"clean": whole["clean"] * np.nan},
        "whole numbers": {"clean": whole["clean"].astype(int)},
        "a class without a name": {"labels": whole["labels"] + 100},
        "no images": {name: whole[name][:0] for name in whole if whole[name].ndim and name != "class_names"},
        "an image less": {"clean": whole["clean"][1:]},
        "names in rows": {"class_names": whole["class_names"][None]},
    }
    outcomes = [
        (what, _left_out(run, path, alone, lambda to, change=change: np.savez(to, **whole | change)))
        for what, change in changes.items()
    ]
    return row("samples.npz", outcomes)


def _settings(path: Path) -> Json:
    outcomes = list[tuple[str, str]]()
    for text in SETTINGS:
        path.write_text(text)
        status, _, told = said("show", "digits/tiny/at", "--config", path)
        lines = [line for line in told.splitlines() if line.startswith("advdpnp: ")]
        refused = status == 2 and len(lines) == 1 and path.name in lines[0]
        outcomes.append((text[:40], "refused" if refused else f"status {status}, {len(lines)} lines"))
    return row("a file for --config", outcomes)
