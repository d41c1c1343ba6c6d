import itertools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from advdpnp.report import write_report
from advdpnp.report.figures.slim import slim_svg
from advdpnp.report.figures.training import training_curves
from advdpnp.report.read import read_run
from advdpnp.report.sections.limits import PICTURES, PICTURES_OF_A_PART, within_limits
from advdpnp.report.sections.section import Section, picture
from report.test_page import Page

MakeRun = Callable[..., Path]


def part(name: str, count: int, drawn: list[str]) -> Section:
    """A part with so many figures, which note that they are drawn."""

    def build(title: str) -> Callable[[], Figure]:
        return lambda: drawn.append(title) or Figure(figsize=(1, 1))

    titles = [f"{name} {number}" for number in range(count)]
    return Section(name, name, "", [], pictures=[picture(title, title, title, "", build(title)) for title in titles])


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ((3, 0, 2), [3, 0, 2]),
        ((100,), [PICTURES_OF_A_PART]),
        # Each of six parts has four of the 24; what one does not use is for the others.
        ((9, 9, 9, 9, 9, 9), [4, 4, 4, 4, 4, 4]),
        ((9, 1, 9, 9, 9, 9), [5, 1, 5, 5, 4, 4]),
    ],
)
def test_every_part_has_its_share_of_the_figures(counts: tuple[int, ...], kept: list[int]) -> None:
    assert (PICTURES_OF_A_PART, PICTURES) == (8, 24)
    parts = within_limits([part(f"p{place}", count, []) for place, count in enumerate(counts)])
    assert [len(one.pictures) for one in parts] == kept
    assert [len(one.left_out) for one in parts] == [count - left for count, left in zip(counts, kept, strict=True)]


def test_what_is_left_out_is_not_drawn() -> None:
    drawn: list[str] = []
    (one,) = within_limits([part("p", 10, drawn)])
    assert drawn == [] and one.left_out == ("p 8", "p 9")
    assert one.pictures[0].svg.startswith("<?xml") and drawn == ["p 0"]


def test_a_page_of_many_runs_is_small_and_names_the_figures_that_it_leaves_out(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advdpnp.report.sections.section.to_svg", lambda build, title: "<svg/>" + " " * 140_000)
    names = [f"{tag}{seed}" for tag, seed in itertools.product("ab", range(6))]
    runs = [make_run("at", tag=name, everything=True) for name in names]
    page = Page(write_report(runs, tmp_path / "report").read_text())
    assert len(page.attributes("img")) <= PICTURES
    assert len(list((tmp_path / "report" / "figures").iterdir())) == len(page.attributes("img"))
    # 24 figures of the largest size that there is, 200 kB each.
    assert (tmp_path / "report" / "index.html").stat().st_size < 5_000_000
    assert re.search(r"4 figures are left out, .* AT \+b5, seed 0 \(digits/tiny\)", page.text)


def test_a_long_log_is_drawn_in_some_hundred_points(make_run: MakeRun) -> None:
    run = read_run(make_run(everything=True))
    first = run.epochs[0]
    run.epochs[:] = [first | {"epoch": number} for number in range(1, 10_001)]
    lines = training_curves([[run]], ["total"]).axes[0].get_lines()
    epochs: Any = lines[0].get_xdata()
    # 10,000 epochs at every 20th are 500; the last one is among them.
    assert len(epochs) == 501 and epochs[-1] == 10_000


def _numbers(svg: str) -> Iterator[float]:
    for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        yield from map(float, re.findall(r"-?\d+\.?\d*", path.get("d", "")))


def test_a_slim_figure_is_the_same_picture_to_a_hundredth_of_a_point() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"><!-- a comment --><g id="line2d_7"><path id="m1a_2" '
        'd="M 12.345678 -0.005 \nL 100 7.1239999 \n"/></g><use href="#m1a_2"/></svg>'
    )
    slim = slim_svg(svg)
    assert list(_numbers(slim)) == pytest.approx(list(_numbers(svg)), abs=0.005)
    # What is referred to keeps its name.
    assert slim == (
        '<svg xmlns="http://www.w3.org/2000/svg"><g><path id="m1a_2" d="M 12.35 -0.01 L 100 7.12"/></g>'
        '<use href="#m1a_2"/></svg>'
    )
