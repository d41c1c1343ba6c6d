"""A site over folders of results: a report for each, what of the paper is reproduced, and an index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from advdpnp.checksums import one_warning
from advdpnp.report.page import write_report, write_text
from advdpnp.report.plain_page import plain_page
from advdpnp.report.read import RunResults, grouped, read_all, warn_of
from advdpnp.report.reproduction import FILE as REPRODUCTION
from advdpnp.report.reproduction import has_rows, reproduction_page
from advdpnp.report.reproduction.standings import counted, paper_rows
from advdpnp.report.run_folders import run_folders
from advdpnp.report.summary import scope


@dataclass(frozen=True)
class _Entry:
    name: str
    page: str
    runs: int
    scope: str


def write_site(results: Path, out: Path) -> Path:
    """Write a report for each folder in `results` that holds runs, reproduction.html over all of them, and index.html.

    Args:
        results: its folders become <out>/<folder>/; folders without runs are left out.
        out: folder of the site.
    Returns:
        Path of index.html. The same results give the same bytes.
    Raises:
        ValueError: no run in any of these folders can be read.
    """
    with one_warning():
        return _written(results, out)


def _written(results: Path, out: Path) -> Path:
    folders = [folder for folder in sorted(results.iterdir()) if folder.is_dir() and list(_runs_in(folder))]
    found = read_all([run for folder in folders for run in _runs_in(folder)])
    entries = [_entry(folder, found.runs, out) for folder in folders]
    rows = [one for rows in paper_rows(found.runs).values() for row in rows for one in row.standings]
    reproduction = REPRODUCTION if has_rows(found.runs) else ""
    if reproduction:
        write_text(out / reproduction, reproduction_page(found.runs))
    index = plain_page(
        "site.html.j2",
        title="Results",
        entries=entries,
        runs=len(found.runs),
        reproduction=reproduction,
        counts=counted(rows),
        total=len(rows),
        unread=[one.reason for one in found.unread],
    )
    write_text(out / "index.html", index)
    warn_of(found.unread)
    return out / "index.html"


def _runs_in(folder: Path) -> Iterator[Path]:
    yield from (run for run in run_folders([folder]) if run != folder)


def _entry(folder: Path, runs: list[RunResults], out: Path) -> _Entry:
    within = [run for run in runs if folder in run.folder.parents]
    write_report(list(_runs_in(folder)), out / folder.name, title=folder.name)
    return _Entry(folder.name, f"{folder.name}/index.html", len(within), scope(within, grouped(within)))
