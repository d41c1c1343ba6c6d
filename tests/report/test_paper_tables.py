import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from advdpnp.report import write_report
from advdpnp.report.paper_tables import paper_csv, paper_tables
from advdpnp.report.read import read_runs
from advdpnp.report.tables import Cell, Row, Table, mark, to_latex

MakeRun = Callable[..., Path]
HERE: dict[str, Any] = {"data": "cifar10", "backbone": "resnet18", "recipe": "paper", "n": 10_000}
TEXT = (("fgsm", "8/255", 1, "8/255"), ("pgd", "8/255", 20, "1/255"))
FSR = (*TEXT[:1], *(("pgd", "8/255", steps, "0.8/255") for steps in (20, 100)), ("cw", "8/255", 30, "0.8/255"))


def tables(*folders: Path) -> dict[str, Table]:
    return {table.group[2]: table for table in paper_tables(read_runs(list(folders)))}


def row(table: Table, method: str, *kinds: str) -> Row:
    (found,) = [row for row in table.rows if row.method == method and row.kind in (kinds or ("run", "mean"))]
    return found


def cell(table: Table, method: str, head: str, *kinds: str) -> Cell:
    return row(table, method, *kinds).cells[[column.head for column in table.columns].index(head)]


def verdicts(right: set[int], n: int = 16) -> str:
    """First image in the highest bit, as the layout of results says."""
    bits = "".join("1" if image in right else "0" for image in range(n))
    return base64.b64encode(int(bits, 2).to_bytes(n // 8, "big")).decode()


def with_verdicts(folder: Path, right: set[int], n: int = 16) -> Path:
    path = folder / "eval" / "text.json"
    stored = json.loads(path.read_text())
    stored["clean_verdicts"] = verdicts(right, n)
    path.write_text(json.dumps(stored))
    return folder


def test_a_measured_number_stands_below_the_printed_one_with_its_difference(make_run: MakeRun) -> None:
    found = tables(make_run(**HERE, suite="text", attacks=TEXT, clean=0.8124, robust=(0.5617, 0.5189)))
    # Table 2 does not have AT, but shares columns with Table 1.
    assert list(found) == ["table1", "table2"]
    table = found["table1"]
    assert cell(table, "AT", "Clean", "published").text == "83.78"
    measured = cell(table, "AT", "Clean")
    assert (measured.text, measured.difference) == ("81.24", "−2.54 from the paper")
    assert cell(table, "AT", "PGD linf").difference == "−0.86 from the paper"
    # Wilson by hand: p = 0.5189, n = 10,000, z = 1.96: 0.5189 +- 0.0098.
    assert cell(table, "AT", "PGD linf").interval == "50.91–52.87"
    assert table.footnotes == [] and row(table, "AT").footnotes == ()
    assert [one.method for one in table.rows if one.kind == "published"] == [
        "ST", "AT", "AT-HE", "TRADES", "MART", "Adv-DPNP",
    ]  # fmt: skip


def test_another_step_is_another_attack_and_leaves_the_cell_empty(make_run: MakeRun) -> None:
    other = (("pgd", "8/255", 20, "2/255"),)
    table = tables(make_run(**HERE, suite="text", attacks=other, robust=(0.5,)))["table1"]
    assert cell(table, "AT", "PGD linf").text == "–"
    assert any(command.endswith("at/seed-0 --suite table1") for command in table.commands)
    assert "advdpnp train cifar10/resnet18/mart --recipe paper" in table.commands


def test_the_attack_on_the_most_images_counts_and_a_letter_says_on_how_many(make_run: MakeRun) -> None:
    first = make_run(**HERE, suite="text", attacks=TEXT, robust=(0.56, 0.51))
    few = make_run(**(HERE | {"n": 2000}), suite="fsr", attacks=FSR, robust=(0.56, 0.50, 0.49, 0.48))
    assert first == few
    table = tables(few)["table1"]
    assert cell(table, "AT", "PGD linf").text == "51.00"
    hat = make_run("hat", **(HERE | {"n": 2000}), suite="fsr", attacks=FSR, clean=0.8, robust=(0.56, 0.50, 0.49, 0.48))
    table = tables(hat)["table2"]
    # The Ensemble is the worst case over the suite, which the fixture has one point below the lowest.
    assert [cell(table, "HAT", head).text for head in ("PGD-20", "PGD-100", "C&W", "Ensemble")] == [
        "50.00", "49.00", "48.00", "47.00",
    ]  # fmt: skip
    assert [table.footnotes[note] for note in row(table, "HAT").footnotes] == ["2,000 of 10,000 test images"]


def test_the_worst_case_of_other_attacks_is_no_ensemble(make_run: MakeRun) -> None:
    more = (*FSR, ("pgd", "8/255", 50, "0.8/255"))
    table = tables(make_run("hat", **HERE, suite="fsr", attacks=more, robust=(0.56, 0.50, 0.49, 0.48, 0.2)))["table2"]
    assert cell(table, "HAT", "Ensemble").text == "–"


def test_several_seeds_show_their_mean_and_extremes(make_run: MakeRun) -> None:
    runs = [
        make_run(**HERE, seed=seed, suite="text", attacks=TEXT, clean=clean, robust=(0.5, 0.5))
        for seed, clean in enumerate((0.80, 0.81, 0.85))
    ]
    table = tables(*runs)["table1"]
    assert row(table, "AT").source == "3 seeds, paper recipe"
    clean = cell(table, "AT", "Clean")
    assert (clean.text, clean.interval) == ("82.00", "80.00–85.00")


def test_a_variant_is_not_measured_against_the_printed_method(make_run: MakeRun) -> None:
    run = make_run("adv-dpnp", **HERE, tag="awp", suite="text", attacks=TEXT, robust=(0.5, 0.5))
    found = tables(run)
    assert cell(found["table1"], "Adv-DPNP +awp", "Clean").difference == ""
    assert "advdpnp train cifar10/resnet18/adv-dpnp --recipe paper" in found["table1"].commands


def test_best_and_second_only_where_the_paired_test_tells_them_apart(make_run: MakeRun) -> None:
    small = HERE | {"n": 16}

    def made(defense: str, right: set[int]) -> Path:
        folder = make_run(defense, **small, suite="text", attacks=TEXT, clean=len(right) / 16, robust=(0.0, 0.0))
        return with_verdicts(folder, right)

    # 16 to 8 right of the same images: 8 heads in 8 tosses, p = 2 / 2^8; 8 to 6: 2 in 2, p = 2 / 4.
    best, next_one, third = set(range(16)), set(range(8)), set(range(6))
    table = tables(made("adv-dpnp", best), made("at", next_one), made("trades", third))["table1"]
    marks = {name: (cell(table, name, "Clean").best, cell(table, name, "Clean").second) for name in METHODS}
    assert marks == {"Adv-DPNP": (True, False), "AT": (False, False), "TRADES": (False, False)}
    # 8 to 2: 6 heads in 6, p = 2 / 64.
    table = tables(made("adv-dpnp", best), made("at", next_one), made("trades", {0, 1}))["table1"]
    assert cell(table, "AT", "Clean").second
    # Equal counts on other images are not apart.
    table = tables(made("adv-dpnp", set(range(9))), made("at", set(range(8, 16))))["table1"]
    assert not cell(table, "Adv-DPNP", "Clean").best


METHODS = ("Adv-DPNP", "AT", "TRADES")


def test_the_undefended_network_takes_no_mark(make_run: MakeRun) -> None:
    small = HERE | {"n": 16}
    undefended = make_run("st", **small, suite="text", attacks=TEXT, clean=1.0, robust=(0.0, 0.0))
    defended = make_run("at", **small, suite="text", attacks=TEXT, clean=0.25, robust=(0.0, 0.0))
    table = tables(with_verdicts(undefended, set(range(16))), with_verdicts(defended, set(range(4))))["table1"]
    assert not cell(table, "ST", "Clean").best and not cell(table, "AT", "Clean").best


def test_tables_of_adv_dpnp_alone_hold_no_other_method(make_run: MakeRun) -> None:
    at = make_run("at", **HERE, suite="text", attacks=TEXT, robust=(0.5, 0.5))
    ours = make_run("adv-dpnp", **HERE, suite="text", attacks=TEXT, robust=(0.5, 0.5138))
    found = tables(at, ours)
    assert [one.method for one in found["table6"].rows] == ["Adv-DPNP", "Adv-DPNP"]
    assert cell(found["table6"], "Adv-DPNP", "20 Loss").difference == "−0.2380 from the paper"
    assert cell(found["table8"], "Adv-DPNP", "CE").difference == "−2.30 from the paper"


def test_runs_that_the_paper_has_no_place_for_make_no_table(make_run: MakeRun) -> None:
    assert tables(make_run()) == {}
    out = make_run().parents[4] / "report"
    write_report([make_run("trades")], out)
    assert not (out / "paper.csv").exists() and "Beside the paper" not in (out / "index.html").read_text()


def test_page_latex_and_csv_hold_the_tables(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(**HERE, suite="text", attacks=TEXT, clean=0.8124, robust=(0.5617, 0.5189))
    write_report([run], tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Beside the paper" in page and "−2.54 from the paper" in page and "What fills the empty cells" in page
    assert "83.78" in (tmp_path / "report" / "results.tex").read_text()
    table = tables(run)["table1"]
    lines = list(csv.DictReader(io.StringIO(paper_csv([table]))))
    (clean,) = [line for line in lines if (line["kind"], line["column"]) == ("run", "Clean")]
    assert (clean["table"], clean["method"], float(clean["value"])) == ("table1", "AT", pytest.approx(81.24))
    assert r"\textbf{1} & \underline{2}$^{a,ab}$" in to_latex(
        Table(
            "t",
            "c",
            [],
            [Row("run", "at", "AT", "s", [Cell("1", best=True), Cell("2", second=True, footnotes=(0, 27))])],
            [],
        )
    )


def test_letters_go_on_after_z() -> None:
    assert [mark(index) for index in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]
