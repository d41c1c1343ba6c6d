"""Figures as SVG, PNG and PDF, the same bytes every time; tables as Markdown in which nothing of a run is markup."""

import re
from pathlib import Path

import pytest

from advdpnp.report import write_report
from advdpnp.report.figures.drawing import FORMATS, line_styles, to_bytes
from advdpnp.report.figures.radius import accuracy_against_eps
from advdpnp.report.markdown import to_markdown
from advdpnp.report.radius_curves import comparable_curves
from advdpnp.report.read import read_runs
from advdpnp.report.sections.section import Section
from advdpnp.report.tables import Cell, Column, Row, Table

from .conftest import MakeRun


def test_every_format_is_the_same_bytes_every_time_and_has_no_date(make_run: MakeRun) -> None:
    (results,) = comparable_curves(read_runs([make_run(everything=True)]))
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    for kind in FORMATS:
        first, second = (to_bytes(lambda: accuracy_against_eps(results), "title", kind) for _ in range(2))
        assert first == second and first.startswith(starts[kind])
        assert not re.search(rb"CreationDate|Matplotlib v|\(D:20\d\d", first)


def test_formats_that_are_asked_for_lie_beside_the_page(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    (folder / "train.jsonl").write_text('{"epoch": 1, "seconds": 1, "loss": {"total": 1.0}, "holdout": null}\n')
    write_report([folder], tmp_path / "out", formats=("png", "pdf"))
    names = sorted(path.name for path in (tmp_path / "out" / "figures").iterdir())
    assert names == ["training-digits-tiny-1.pdf", "training-digits-tiny-1.png"]
    with pytest.raises(ValueError, match=r"formats of figures are svg, png, pdf; got 'jpg': give some of these"):
        write_report([folder], tmp_path / "other", formats=("svg", "jpg"))
    assert not (tmp_path / "other").exists()


def test_markdown_holds_every_number_and_footnote(make_run: MakeRun, tmp_path: Path) -> None:
    write_report([make_run(clean=0.9), make_run("trades", clean=0.8)], tmp_path / "out")
    text = (tmp_path / "out" / "results.md").read_text()
    assert "### digits/tiny: accuracy under the demo suite" in text
    assert "| Method | Clean | FGSM ℓ∞ 0.1 | PGD-40 ℓ∞ 0.1 |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| AT")]
    assert "| **90.0** (86.5–92.7) |" in line and line.count("|") == 7
    assert "- a: recipe “default”: 144 training images held out" in text


def test_nothing_of_a_run_is_markup_in_markdown() -> None:
    row = Row("run", "at", "<script>`|x|`", "seed_0", [Cell("1 | 2", "a*b", best=True, footnotes=(0,))])
    table = Table("t\n# u", "", [Column("[a](b)")], [row], ["<b>"], remarks=("_so_",))
    text = to_markdown([Section("s", "S", "", [], [table]), Section("empty", "Empty", "", [])])
    assert text == (
        "## S\n\n### t \\# u\n\n\\_so\\_\n\n| Method | \\[a\\](b) |\n| --- | ---: |\n"
        "| \\<script\\>\\`\\|x\\|\\`, seed\\_0 | **1 \\| 2**<sup>a</sup> (a\\*b) |\n\n- a: \\<b\\>\n"
    )


def test_variants_of_a_method_are_told_apart_by_their_lines(make_run: MakeRun) -> None:
    runs = read_runs([make_run("adv-dpnp", tag=tag, seed=seed) for tag in ("", "ema", "awp") for seed in (0, 1)])
    styles = line_styles(runs)
    assert len({str(style) for style in styles.values()}) == 3 and styles["Adv-DPNP"] == "-"
