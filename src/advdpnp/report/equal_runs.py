"""Runs of the same method, tag and seed: copies are left out, others told apart by where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advdpnp.report.read import RunResults
    from advdpnp.report.run_files import Reading


def told_apart(runs: Sequence[RunResults], reading: Reading) -> list[RunResults]:
    """The runs without copies; where a method has a seed twice, its runs are named by where their paths differ.

    Args:
        runs: in the order of tables.
        reading: keeps in mind what is left out.
    """
    kept: list[RunResults] = []
    for _, members in groupby(runs, key=lambda run: run.order[:-1]):
        method = list(_without_copies(list(members), reading))
        seeds = [run.seed for run in method]
        kept += method if len(set(seeds)) == len(seeds) else _named_by_place(method)
    return sorted(kept, key=lambda run: run.order)


def _without_copies(runs: Sequence[RunResults], reading: Reading) -> Iterator[RunResults]:
    first: list[tuple[Any, RunResults]] = []
    for run in runs:
        content = _content(run)
        same = next((other for known, other in first if known == content), None)
        if same is None:
            first.append((content, run))
            yield run
        else:
            reading.leave_out(run.folder, ValueError(f"{run.folder} is a copy of {same.folder}: give one of them"))


def _content(run: RunResults) -> Any:
    return run.config, run.epochs, [replace(suite, path=Path()) for suite in (*run.suites, *run.curves)]


def _named_by_place(runs: Sequence[RunResults]) -> list[RunResults]:
    folders = [run.folder.resolve() for run in runs]
    places = [folder.parent for folder in folders]
    # Two seeds of one name in one folder are told apart by their own names.
    if len(set(zip(places, (run.seed for run in runs), strict=True))) < len(runs):
        places = folders
    parts = [place.parts for place in places]
    before = _shared(parts)
    after = _shared([part[before:][::-1] for part in parts])
    names = ["/".join(part[before : len(part) - after]) for part in parts]
    return [replace(run, collection=name or ".") for run, name in zip(runs, names, strict=True)]


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """How many parts all of these paths begin with."""
    count = 0
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        count += 1
    return count
