"""The report as files: one self-contained page, the tables as CSV and LaTeX, the figures as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from advdpnp.report.export import mark, to_csv, to_latex
from advdpnp.report.figures import color
from advdpnp.report.origin import origin
from advdpnp.report.read import read_runs
from advdpnp.report.sections import sections
from advdpnp.report.summary import findings, scope
from advdpnp.report.tables import grouped
from advdpnp.runs import write_bytes


def _render(**content: Any) -> str:
    import jinja2

    template = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(template).render(content)


def _write(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_report(runs: list[Path], out: Path, title: str | None = None) -> Path:
    """Write index.html, results.csv, results.tex and figures/*.svg from the stored results of runs.

    Args:
        runs: run folders, runs/<data>/<backbone>/<defense>[+tag]/seed-<n>, in any order.
        out: folder of the report; files of an earlier report in it are replaced.
        title: heading of the page.
    Returns:
        Path of index.html, which needs no other file and no network. The same runs give the same bytes.
    Raises:
        FileNotFoundError: a folder holds no run.
        ValueError: no runs, the same run twice, or a damaged file, which is named.
    """
    stored = read_runs(runs)
    groups, parts = grouped(stored), sections(stored)
    places = list(dict.fromkeys(run.place for run in stored))
    page = _render(
        title=title or f"Robust accuracy: {', '.join(places)}",
        scope=scope(stored, groups),
        findings=[text for group in groups for text in findings(group)],
        sections=parts,
        origins=list(map(origin, stored)),
        color=color,
        mark=mark,
    )
    for picture in (picture for part in parts for picture in part.pictures):
        _write(out / "figures" / f"{picture.name}.svg", picture.svg)
    _write(out / "results.csv", to_csv(groups))
    _write(out / "results.tex", "\n".join(to_latex(table) for part in parts for table in part.tables))
    _write(out / "index.html", page)
    return out / "index.html"
