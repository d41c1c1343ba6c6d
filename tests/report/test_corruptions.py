"""Accuracy under corruptions in reports: what is generated is called so, and never stands beside Table 5."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from advdpnp.report import write_report
from advdpnp.report.corruption_tables import corrupted, corruption_tables
from advdpnp.report.figures.corruptions import accuracy_against_severity, corruption_maps
from advdpnp.report.paper_tables import paper_tables
from advdpnp.report.read import by_method, grouped, read_runs
from advdpnp.result_files import corruption_fields

from .conftest import Json, MakeRun, evaluation, write_json

N = 1000
NAMES = ("fog", "snow", "jpeg_compression")


def measured(source: str, first: int = 800) -> Json:
    """Of each of three corruptions 800, 790, ... 760 of 1,000 images are right, and 10 fewer with each further one."""
    right = {name: [first - 10 * (place + k) for k in range(5)] for place, name in enumerate(NAMES)}
    found: dict[str, Any] = {"corruption_source": source, "corruptions": corruption_fields(right, N)}
    return evaluation("corruptions", "cifar10", N, 0.85, []) | found


def cifar_run(make_run: MakeRun, source: str, seed: int = 0, first: int = 800) -> Path:
    folder = make_run("at", data="cifar10", backbone="resnet18", recipe="paper", seed=seed, suite=None)
    write_json(folder / "eval" / "corruptions.json", measured(source, first))
    return folder


def test_tables_hold_the_means_and_say_what_the_images_are(make_run: MakeRun) -> None:
    (results,) = corrupted(grouped(read_runs([cifar_run(make_run, "generated")])))
    by_severity, each = corruption_tables(results)
    assert [column.head for column in by_severity.columns[:3]] == ["Clean", "Mean", "Severity 1"]
    # Of 3 corruptions 800, 790 and 780 of 1,000: the mean over all is 770.
    assert [cell.text for cell in by_severity.rows[0].cells] == ["85.0", "77.0", "79.0", "78.0", "77.0", "76.0", "75.0"]
    assert [column.head for column in each.columns] == ["fog", "snow", "JPEG compression"]
    assert [cell.text for cell in each.rows[0].cells] == ["78.0", "77.0", "76.0"]
    for table in (by_severity, each):
        assert "(generated)" in table.title and "generated, not CIFAR-10-C" in table.caption
        assert [row.kind for row in table.rows] == ["run"]


def test_seeds_have_a_mean(make_run: MakeRun) -> None:
    runs = [cifar_run(make_run, "generated", seed, first) for seed, first in ((0, 800), (1, 700))]
    (results,) = corrupted(grouped(read_runs(runs)))
    rows = corruption_tables(results)[0].rows
    assert [(row.kind, row.cells[1].text) for row in rows] == [("run", "77.0"), ("run", "67.0"), ("mean", "72.0")]


def test_the_papers_number_stands_beside_published_images_alone(make_run: MakeRun) -> None:
    folder = cifar_run(make_run, "published")
    (results,) = corrupted(grouped(read_runs([folder])))
    assert [(row.kind, row.cells[1].text) for row in corruption_tables(results)[0].rows] == [
        ("run", "77.0"),
        ("published", "76.16"),
    ]
    (table,) = [table for table in paper_tables(read_runs([folder])) if table.group[2] == "table5"]
    assert [row.cells[0].text for row in table.rows if row.kind == "run"] == ["77.00"]
    write_json(folder / "eval" / "corruptions.json", measured("generated"))
    assert all(table.group[2] != "table5" for table in paper_tables(read_runs([folder])))


def test_generated_and_published_images_are_not_compared(make_run: MakeRun) -> None:
    runs = [cifar_run(make_run, "generated"), cifar_run(make_run, "published", seed=1)]
    groups = corrupted(grouped(read_runs(runs)))
    assert [[one.suite.corruption_source for one in group] for group in groups] == [["generated"], ["published"]]


def test_the_report_says_generated_wherever_such_numbers_are(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [cifar_run(make_run, "generated"), make_run("trades", data="cifar10", backbone="resnet18")]
    page = write_report(runs, tmp_path / "report").read_text()
    assert "Common corruptions" in page and "AT: accuracy under the corruptions suite" not in page
    for line in page.splitlines():
        if "<caption>" in line and "corruption" in line:
            assert "(generated)" in line
    lines = list(csv.DictReader(io.StringIO((tmp_path / "report" / "results.csv").read_text())))
    suites = {line["suite"] for line in lines if line["attack"] in ("Mean", "Severity 5", "fog")}
    assert suites == {"corruptions (generated)"}
    drawn = sorted(path.name for path in (tmp_path / "report" / "figures").iterdir() if "generated" in path.name)
    name = f"cifar10-resnet18-{N}-generated"
    assert drawn == [f"corruptions-{name}-1.svg", f"severity-{name}.svg"]


def test_without_corruptions_there_is_no_such_part(make_run: MakeRun, tmp_path: Path) -> None:
    assert "Common corruptions" not in write_report([make_run()], tmp_path / "report").read_text()


def test_the_curve_begins_at_the_clean_accuracy_and_maps_have_every_number(make_run: MakeRun) -> None:
    (results,) = corrupted(grouped(read_runs([cifar_run(make_run, "generated")])))
    (axes,) = accuracy_against_severity(results).axes
    (line,) = axes.get_lines()
    assert [*map(float, line.get_ydata())] == pytest.approx([85, 79, 78, 77, 76, 75])  # type: ignore[arg-type]
    assert "generated" in axes.get_xlabel()
    maps = corruption_maps(by_method(results)).axes[0]
    drawn = maps.images[0].get_array()
    assert drawn is not None and drawn.round(9).tolist() == [[80 - row - k for k in range(5)] for row in range(3)]
    assert [text.get_text() for text in maps.texts[:6]] == ["80", "79", "78", "77", "76", "79"]


def test_the_papers_mean_stands_below_maps_of_all_published_images_alone(make_run: MakeRun) -> None:
    folder = cifar_run(make_run, "published")
    right = {name: [8000, 7900, 7800, 7700, 7600] for name in NAMES}
    for n, source, below in (
        (10_000, "published", "severity\nmean 78.00 %, the paper 76.16 %"),
        (10_000, "generated", "severity\nmean 78.00 %"),
    ):
        found: Json = {"corruption_source": source, "corruptions": corruption_fields(right, n)}
        write_json(folder / "eval" / "corruptions.json", evaluation("corruptions", "cifar10", n, 0.85, []) | found)
        (results,) = corrupted(grouped(read_runs([folder])))
        assert corruption_maps(by_method(results)).axes[0].get_xlabel() == below
    # Of 1,000 images 780, 770 ... are right: 77 percent.
    (results,) = corrupted(grouped(read_runs([cifar_run(make_run, "published")])))
    assert corruption_maps(by_method(results)).axes[0].get_xlabel() == "severity\nmean 77.0 %"
