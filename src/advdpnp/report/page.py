"""The report as files: one self-contained page; the tables as CSV, LaTeX and Markdown; figures as SVG, PNG and PDF."""

from __future__ import annotations

import base64
import gc
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from advdpnp.lock import only_process
from advdpnp.report.figures.drawing import FORMATS, check_formats
from advdpnp.report.markdown import to_markdown
from advdpnp.report.methods import color
from advdpnp.report.page_entries import Entries
from advdpnp.report.paper_tables import paper_csv
from advdpnp.report.plain_page import templates
from advdpnp.report.published import paper_test_images
from advdpnp.report.ranking import rankings
from advdpnp.report.read import grouped, read_all, warn_of
from advdpnp.report.reproduction import FILE as REPRODUCTION
from advdpnp.report.reproduction import has_rows, reproduction_page
from advdpnp.report.sections import page_sections
from advdpnp.report.sections.limits import within_limits
from advdpnp.report.sections.unread import unread_section
from advdpnp.report.summary import findings, headline, origin, page_title, scope
from advdpnp.report.tables import Table, accuracy_table, mark, percent, to_csv, to_latex
from advdpnp.runs import LOCK, remove_torn_writes, write_bytes

# Of a part of the page; further ones are behind a line that opens them.
PICTURES_SHOWN = 6


def _file(name: str) -> str:
    """A file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _render(**content: Any) -> str:
    script = _file("page.js")
    # What runs in the page is this script and nothing else, whatever a run is called.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        templates(Path(__file__).parent)
        .get_template("page.html.j2")
        .render(content, css=_file("page.css"), script=script, script_digest=f"sha256-{digest}")
    )


def _takes_share(table: Table) -> bool:
    """Whether accuracies under attack stand beside the clean accuracy, of which they may be shown as a share."""
    return table.columns[0].head == "Clean" and not table.group[2].startswith("table")


def _of_paper(table: Table) -> bool:
    """Whether a table is of a data set that the paper reports, so that its protocol is what one compares with."""
    return paper_test_images(table.group[0]) is not None


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing, in UTF-8."""
    # Names of files may hold bytes that are no text.
    write_bytes(path, text.encode(errors="replace"))


def write_report(runs: list[Path], out: Path, title: str | None = None, formats: Sequence[str] = FORMATS[:1]) -> Path:
    """Write index.html, results.csv, results.tex, results.md and figures/ from the stored results of runs.

    Where the runs have a place in the tables of the paper, paper.csv has those, and reproduction.html says of every
    number of the paper whether it is reproduced.

    Args:
        runs: run folders, runs/<data>/<backbone>/<defense>[+tag]/seed-<n>, in any order.
        out: folder of the report; files of an earlier report in it are replaced.
        title: heading of the page.
        formats: of the files in figures/: "svg", "png" (200 dots per inch) and "pdf".
    Returns:
        Path of index.html, which needs no other file and no network. The same runs give the same bytes.
    What cannot be read is left out, named on the page, and warned of.

    Raises:
        ValueError: no runs, or none that can be read, or another format.
    """
    check_formats(formats)
    with _apart_from_garbage():
        return _write(runs, out, title, formats)


@contextmanager
def _apart_from_garbage() -> Iterator[None]:
    """Collections of garbage look at nothing that is there already: torch alone has objects enough for a second."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _write(runs: list[Path], out: Path, title: str | None, formats: Sequence[str]) -> Path:
    found = read_all(runs)
    stored = found.runs
    groups = grouped(stored)
    # Of a result without attacks that measures corruptions, the clean accuracy is with these.
    attacked = [group for group in groups if not all(one.suite.corruptions and not one.suite.rows for one in group)]
    accuracies = [replace(accuracy_table(group), remarks=tuple(findings(group))) for group in attacked]
    parts = [*within_limits(page_sections(stored, groups, accuracies)), *unread_section(found.unread)]
    entries = Entries(stored)
    reproduction = REPRODUCTION if has_rows(stored) else ""
    page = _render(
        title=title or page_title(stored),
        headline=headline(stored),
        scope=scope(stored, groups),
        rankings=rankings(stored),
        sections=parts,
        unmeasured=[part.title for part in parts if part.empty],
        origins=[origin(run) | {"anchor": entries.anchor(run), "defense": run.defense} for run in stored],
        entries=entries,
        color=color,
        mark=mark,
        reproduction=reproduction,
        unread=found.unread,
        percent=percent,
        shares=_takes_share,
        of_paper=_of_paper,
        shown=PICTURES_SHOWN,
    )
    tables = {part.anchor: part.tables for part in parts}
    with only_process(out / LOCK, str(out)):
        remove_torn_writes(out, out / "figures")
        for picture in (picture for part in parts for picture in part.pictures):
            for kind in formats:
                write_bytes(out / "figures" / f"{picture.name}.{kind}", picture.file(kind))
        write_text(out / "results.csv", to_csv([*accuracies, *tables.get("corruptions", [])]))
        if "paper" in tables:
            write_text(out / "paper.csv", paper_csv(tables["paper"]))
        write_text(out / "results.tex", "\n".join(to_latex(table) for part in parts for table in part.tables))
        write_text(out / "results.md", to_markdown(parts))
        if reproduction:
            write_text(out / reproduction, reproduction_page(stored))
        write_text(out / "index.html", page)
    warn_of(found.unread)
    return out / "index.html"
