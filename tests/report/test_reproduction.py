import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from advdpnp.report import write_report
from advdpnp.report.published.tables import TABLES
from advdpnp.report.read import read_runs
from advdpnp.report.reproduction import reproduction_page
from advdpnp.report.reproduction.standings import PaperRow, Standing, counted, paper_rows
from report.conftest import change_json, make_run_under
from report.test_page import Page

MakeRun = Callable[..., Path]
PAPER = (("pgd", "8/255", 20, "1/255"), ("autoattack", "8/255", None, None))


class Printed(HTMLParser):
    """The numbers of the paper that stand in each table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, Counter[str]] = {}
        self._section, self._inside = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "section":
            self._section = said["id"] or ""
            self.tables[self._section] = Counter()
        self._inside = said.get("class") == "printed"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.tables[self._section][data] += 1
        self._inside = False


def paper_run(make_run: MakeRun, **described: object) -> Path:
    """A run that departs in nothing from the paper's protocol, unless it is asked to."""
    usual = {
        "data": "cifar10",
        "backbone": "resnet18",
        "recipe": "paper",
        "n": 10_000,
        "attacks": PAPER,
        "suite": "text",
    }
    folder = make_run("at", **(usual | {"clean": 0.8378, "robust": (0.5275, 0.4820)} | described))
    change_json(folder / "eval" / "text.json", epoch=110)
    return folder


def row_of(rows: dict[int, list[PaperRow]], number: int, data: str, defense: str) -> PaperRow:
    (row,) = [one for one in rows[number] if one.place == (data, "resnet18", defense)]
    return row


def by_column(row: PaperRow) -> dict[str, Standing]:
    return {one.column.title: one for one in row.standings}


def test_every_number_of_every_table_of_the_paper_stands_on_the_page_once(make_run: MakeRun) -> None:
    page = reproduction_page(read_runs([make_run("at", data="cifar10", backbone="resnet8")]))
    found = {name: sum(numbers.values()) for name, numbers in Printed(page).tables.items()}
    # Rows times columns, counted in the paper.
    assert found == {
        "table1": 12 * 6, "table2": 22 * 8, "table3": 8 * 6, "table4": 16 * 8,
        "table5": 11, "table6": 2 * 10, "table7": 2 * 4, "table8": 2 * 2,
    }  # fmt: skip
    shown = Printed(page).tables
    for number, table in TABLES.items():
        numbers = Counter(round(value, 6) for row in table.rows.values() for value in row)
        assert Counter(float(text) for text in shown[f"table{number}"].elements()) == numbers
    assert Page(page).open == []


def test_a_number_whose_interval_covers_the_papers_under_its_protocol_is_reproduced(make_run: MakeRun) -> None:
    row = row_of(paper_rows(read_runs([paper_run(make_run)])), 1, "cifar10", "at")
    found = by_column(row)
    assert {name for name, one in found.items() if one.verdict == "reproduced"} == {"Clean", "AA", "Avg", "PGD linf"}
    assert found["Clean"].difference == "+0.00" and found["Clean"].reason.startswith("the 95 % interval covers")
    # Wilson's interval of 8,378 of 10,000 images is [0.8304, 0.8449].
    assert found["Clean"].interval == "83.04–84.49"
    assert row.verdict == "4 of 6 reproduced, 2 not measured"
    assert row.commands[0].startswith("advdpnp evaluate ") and row.commands[0].endswith("--suite table1")


def test_a_number_outside_the_interval_is_not_reproduced(make_run: MakeRun) -> None:
    found = by_column(row_of(paper_rows(read_runs([paper_run(make_run, clean=0.80)])), 1, "cifar10", "at"))
    assert (found["Clean"].verdict, found["Clean"].difference) == ("not reproduced", "−3.78")
    # (80.00 + 48.20) / 2 is 1.89 points below 65.99.
    assert (found["Avg"].verdict, found["Avg"].difference) == ("not reproduced", "−1.89")


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"backbone": "resnet8"}, "another architecture: resnet8, not resnet18"),
        ({"n": 1_000}, "1,000 of 10,000 test images"),
        ({"recipe": "default"}, "recipe “default”: 144 training images held out"),
    ],
)
def test_another_protocol_is_never_reproduced_and_named(
    make_run: MakeRun, described: dict[str, object], words: str
) -> None:
    rows = paper_rows(read_runs([paper_run(make_run, **described)]))
    found = by_column(row_of(rows, 1, "cifar10", "at"))
    assert found["Clean"].verdict == "another protocol" and words in found["Clean"].reason
    assert all(one.verdict != "reproduced" for rows_ in rows.values() for row in rows_ for one in row.standings)


def test_a_training_that_has_not_ended_is_another_protocol(make_run: MakeRun) -> None:
    folder = paper_run(make_run)
    change_json(folder / "eval" / "text.json", epoch=20)
    found = by_column(row_of(paper_rows(read_runs([folder])), 1, "cifar10", "at"))
    assert (found["Clean"].verdict, found["Clean"].reason) == ("another protocol", "after 20 of 110 epochs")


def test_the_run_that_departs_least_is_the_nearest(make_run: MakeRun) -> None:
    folders = [paper_run(make_run, backbone="resnet8", clean=0.84), paper_run(make_run, clean=0.81)]
    found = by_column(row_of(paper_rows(read_runs(folders)), 1, "cifar10", "at"))
    assert found["Clean"].ours == "81.00" and "resnet18" in found["Clean"].source


def trained_otherwise(folder: Path, **settings: object) -> Path:
    """The run with other settings of its recipe."""
    recipe = json.loads((folder / "config.json").read_text())["recipe"]
    change_json(folder / "config.json", recipe=recipe | settings)
    return folder


def test_a_row_is_of_one_run_and_another_fills_only_what_that_lacks(tmp_path: Path) -> None:
    attacks = (PAPER[0], ("pgd", "128/255", 20, "16/255"))
    short = paper_run(make_run_under(tmp_path / "short"), n=1_000, clean=0.485, robust=(0.291, 0.3), attacks=attacks)
    stored = short / "eval" / "text.json"
    linf, l2 = json.loads(stored.read_text())["attacks"]
    change_json(stored, attacks=[linf, l2 | {"norm": "l2"}])
    whole = paper_run(make_run_under(tmp_path / "whole"), clean=0.83, robust=(0.514, 0.46))
    # Of the shorter training fewer settings depart, three against four.
    short = trained_otherwise(short, epochs=11, train_images=5_000)
    whole = trained_otherwise(whole, epochs=30, lr=0.2, batch_size=256, schedule="onecycle")
    runs = read_runs([short, whole])
    row = row_of(paper_rows(runs), 1, "cifar10", "at")
    assert {name: (one.ours, one.other_run) for name, one in by_column(row).items() if one.ours} == {
        "Clean": ("83.00", False), "AA": ("46.00", False), "Avg": ("64.50", False), "PGD linf": ("51.40", False),
        "PGD l2": ("30.00", True),
    }  # fmt: skip
    text = " ".join(Page(reproduction_page(runs)).text.split())
    assert "Clean, AA, Avg, PGD linf (AT [whole], resnet18, seed 0, 10,000 images): another protocol, 30 epochs" in text
    assert "PGD l2 (another run: AT [short], resnet18, seed 0, 1,000 images): another protocol, 1,000 of" in text


def test_numbers_under_the_papers_protocol_come_before_more_numbers(tmp_path: Path) -> None:
    exact = paper_run(make_run_under(tmp_path / "exact"), attacks=PAPER[:1], robust=(0.5275,))
    more = trained_otherwise(paper_run(make_run_under(tmp_path / "more"), clean=0.8), epochs=30)
    found = by_column(row_of(paper_rows(read_runs([exact, more])), 1, "cifar10", "at"))
    assert (found["Clean"].ours, found["Clean"].verdict) == ("83.78", "reproduced")
    assert (found["AA"].verdict, found["AA"].other_run) == ("another protocol", True)


def test_a_variant_is_another_method(make_run: MakeRun) -> None:
    rows = paper_rows(read_runs([paper_run(make_run, tag="wide")]))
    assert set(counted(one for row in rows[1] for one in row.standings).items()) >= {("not measured", 72)}


def test_rows_without_a_run_have_commands_that_train_and_evaluate(make_run: MakeRun) -> None:
    row = row_of(paper_rows(read_runs([make_run()])), 8, "cifar100", "adv-dpnp")
    assert row.commands == [
        "advdpnp train cifar100/resnet18/adv-dpnp --recipe paper",
        "advdpnp evaluate runs/cifar100/resnet18/adv-dpnp/seed-0 --suite table8",
    ]


def test_losses_and_geometry_count_within_a_share(make_run: MakeRun) -> None:
    folder = make_run("adv-dpnp", data="cifar10", backbone="resnet18", recipe="paper", n=10_000, suite="text",
                      attacks=(("pgd", "8/255", 20, "1/255"),), robust=(0.5333,), clean=0.8463)  # fmt: skip
    path = folder / "eval" / "text.json"
    for loss, verdict in ((1.18, "reproduced"), (1.17, "not reproduced")):
        path.write_text(re.sub(r'"mean_cross_entropy": [\d.]+', f'"mean_cross_entropy": {loss}', path.read_text()))
        change_json(path, epoch=110)
        # 5 % of 1.2380 are 0.0619.
        found = by_column(row_of(paper_rows(read_runs([folder])), 6, "cifar10", "adv-dpnp"))
        assert found["20 Loss"].verdict == verdict


def test_a_report_has_the_page_where_the_paper_has_a_row(make_run: MakeRun, tmp_path: Path) -> None:
    write_report([paper_run(make_run)], tmp_path / "paper")
    write_report([make_run()], tmp_path / "digits")
    text = Page((tmp_path / "paper" / "reproduction.html").read_text()).text
    assert "Of 467 numbers in Tables 1 to 8" in text
    assert 'href="reproduction.html"' in (tmp_path / "paper" / "index.html").read_text()
    assert not (tmp_path / "digits" / "reproduction.html").exists()
    assert "reproduction.html" not in (tmp_path / "digits" / "index.html").read_text()
