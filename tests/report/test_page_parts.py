"""What the page's rows are of, its colors, its sizes."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import advdpnp.report
from advdpnp.report import write_report
from advdpnp.report.page_entries import Entries
from advdpnp.report.read import grouped, read_runs
from advdpnp.report.tables import accuracy_table

MakeRun = Callable[..., Path]
CSS = Path(advdpnp.report.__file__).with_name("page.css").read_text()


def luminance(color: str) -> float:
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_contrast_of_the_test_is_that_of_the_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # The grey that is known to just pass on white.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("mode", [0, 1])
def test_text_has_the_contrast_of_level_aa_in_light_and_dark(mode: int) -> None:
    found = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", CSS)
    colors = {name: (light, dark)[mode] for name, light, dark in found}
    assert {"page", "ink", "soft", "link", "tint", "edge"} <= set(colors)
    for text in ("ink", "soft", "link"):
        for ground in ("page", "tint"):
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    # Borders of what is operated, and the focus.
    assert min(contrast(colors[name], colors["page"]) for name in ("edge", "link")) >= 3


def test_a_row_is_of_the_runs_of_its_method_and_place(make_run: MakeRun) -> None:
    folders = [make_run("at", seed=seed) for seed in (0, 1, 11)]
    folders += [make_run("at", backbone="tiny-2d"), make_run("at", tag="wide"), make_run("trades")]
    runs = read_runs(folders)
    entries = Entries(runs)
    tables = [accuracy_table(group) for group in grouped(runs)]
    found = {(table.title.split(":")[0], row.method, row.source.split(",")[0]): entries.of_row(row, table)
             for table in tables for row in table.rows}  # fmt: skip
    position = {(run.place, run.method, run.seed): str(place) for place, run in enumerate(runs)}
    three = [position["digits/tiny", "AT", seed] for seed in (0, 1, 11)]
    assert found["digits/tiny", "AT", "mean of 3 seeds"] == " ".join(three)
    assert [found["digits/tiny", "AT", f"seed {seed}"] for seed in (0, 1, 11)] == three
    assert found["digits/tiny-2d", "AT", "seed 0"] == position["digits/tiny-2d", "AT", 0]
    assert found["digits/tiny", "AT +wide", "seed 0"] == position["digits/tiny", "AT +wide", 0]


def test_a_figure_is_of_the_run_whose_name_it_bears(make_run: MakeRun) -> None:
    entries = Entries(read_runs([make_run("at"), make_run("at", seed=1), make_run("at", backbone="tiny-2d")]))
    assert entries.of_picture("AT, seed 1 (digits/tiny)") == "1"
    assert entries.of_picture("digits/tiny: training of AT") == ""


def test_every_run_has_an_anchor_of_its_own(make_run: MakeRun) -> None:
    runs = read_runs([make_run("at", tag=tag) for tag in ("a b", "a-b", "a+b", "<a&b>")])
    anchors = Entries(runs).anchors
    assert len(set(anchors)) == 4 and all(re.fullmatch(r"[a-z0-9-]+", anchor) for anchor in anchors)
    assert [Entries(runs).anchor(run) for run in runs] == anchors


def test_further_figures_of_a_part_are_behind_a_line_that_opens_them(
    make_run: MakeRun, full_runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advdpnp.report.page.PICTURES_SHOWN", 1)
    folders = [make_run("at"), make_run("trades")]
    for folder in folders:
        (folder / "eval/samples.npz").write_bytes((full_runs[0] / "eval/samples.npz").read_bytes())
    shown, hidden = write_report(folders, tmp_path / "out").read_text().split("<summary>1 more figure</summary>")
    # Beside the images the two networks' accuracies are drawn.
    assert (shown.count("<figure"), hidden.count("<figure")) == (2, 1)


def test_many_seeds_of_the_ranking_fold_into_their_number(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("at", seed=seed) for seed in range(5)] + [make_run("st", seed=seed) for seed in range(4)]
    ranking = write_report(runs, tmp_path / "out").read_text().split('id="ranking"')[1].split("</section>")[0]
    assert "<summary>5</summary>" in ranking and ranking.count("<summary>") == 1
    assert [f"#run-digits-tiny-st-seed-{seed}" in ranking for seed in range(4)] == [True] * 4


def test_data_of_ones_own_are_not_measured_by_the_paper(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run("at")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"data": {"name": "photos", "classes": ["cat", "dog"]}}))
    stored = json.loads((folder / "eval/demo.json").read_text())
    (folder / "eval/demo.json").write_text(json.dumps(stored | {"data": "photos"}))
    text = write_report([folder], tmp_path / "out").read_text()
    for scolding in ("of the paper", "Published rows", "Not the protocol"):
        assert scolding not in re.sub(r"<script>.*</script>", "", text, flags=re.S), scolding
