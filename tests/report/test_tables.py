import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from advdpnp.report import write_report
from advdpnp.report.read import grouped, read_runs
from advdpnp.report.summary import findings, scope
from advdpnp.report.tables import Table, accuracy_table, geometry_table, percent, to_csv, to_latex

MakeRun = Callable[..., Path]
CIFAR = (("fgsm", "8/255", 1, "8/255"), ("pgd", "8/255", 20, "0.8/255"), ("pgd", "8/255", 100, "0.8/255"))
TABLE_2 = (*CIFAR, ("cw", "8/255", 30, "0.8/255"))


def only_table(*folders: Path) -> Table:
    (group,) = grouped(read_runs(list(folders)))
    return accuracy_table(group)


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


def test_a_row_holds_clean_attacks_and_worst_case_in_percent(make_run: MakeRun) -> None:
    table = only_table(make_run(clean=0.9, robust=(0.7, 0.6, 0.5)))
    assert [column.head for column in table.columns] == ["Clean", "FGSM", "PGD-40", "C&W-30", "Worst case"]
    assert table.columns[2].budget == "ℓ∞ 0.1"
    assert texts(table) == [["90.0", "70.0", "60.0", "50.0", "49.0"]]
    assert "360 test images (0-359)" in table.caption and "Wilson" in table.caption


def test_intervals_are_those_of_the_result_file(make_run: MakeRun) -> None:
    # Wilson by hand, p = 1/2: center 1/2, half width z / 2 / sqrt(n + z^2) = 0.98 / sqrt(363.84) = 0.0514.
    (row,) = only_table(make_run(robust=(0.7, 0.6, 0.5))).rows
    assert row.cells[3].interval == "44.9–55.1"


def test_decimals_are_no_more_than_the_images_can_tell() -> None:
    assert percent(0.53684, 10_000) == "53.68"
    assert percent(0.53684, 360) == "53.7"


def test_two_seeds_get_a_mean_row_with_extremes(make_run: MakeRun) -> None:
    table = only_table(make_run(seed=0, clean=0.90), make_run(seed=1, clean=0.80), make_run("trades", clean=0.84))
    assert [row.kind for row in table.rows] == ["run", "run", "mean", "run"]
    mean = table.rows[2]
    assert mean.source == "mean of 2 seeds, min to max"
    assert (mean.cells[0].text, mean.cells[0].interval) == ("85.0", "80.0–90.0")


def test_the_best_of_a_column_is_sought_among_methods_not_among_lucky_seeds(make_run: MakeRun) -> None:
    # Seed 0 of AT has the highest single value, but TRADES has the higher mean.
    table = only_table(make_run(seed=0, clean=0.90), make_run(seed=1, clean=0.70), make_run("trades", clean=0.84))
    assert [row.cells[0].best for row in table.rows] == [False, False, False, True]


def test_equal_values_are_both_best(make_run: MakeRun) -> None:
    table = only_table(make_run("at"), make_run("trades"))
    assert all(cell.best for row in table.rows for cell in row.cells)


def test_a_single_method_is_not_called_best(make_run: MakeRun) -> None:
    assert not any(cell.best for row in only_table(make_run()).rows for cell in row.cells)


def test_results_on_other_images_or_suites_stand_in_another_table(make_run: MakeRun) -> None:
    folders = [make_run("at"), make_run("trades", n=100), make_run("mart", suite="quick"), make_run("st", data="mnist")]
    assert len(grouped(read_runs(folders))) == 4


def test_the_papers_protocol_has_no_mark(make_run: MakeRun) -> None:
    folder = make_run(data="cifar10", backbone="resnet18", recipe="paper", n=10_000)
    table = only_table(folder)
    assert table.footnotes == [] and table.rows[0].footnotes == ()


def test_data_that_the_paper_does_not_report_depart_from_nothing(make_run: MakeRun) -> None:
    assert only_table(make_run(data="digits", recipe="paper", n=100)).footnotes == []


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"data": "cifar10", "recipe": "paper", "n": 1000}, "1,000 of 10,000 test images"),
        ({"data": "cifar10", "n": 10_000}, "recipe “default”: 144 training images held out"),
    ],
)
def test_what_is_not_the_papers_protocol_is_marked(make_run: MakeRun, options: dict[str, object], note: str) -> None:
    table = only_table(make_run(**options))
    assert table.footnotes == [note] and table.rows[0].footnotes == (0,)


@pytest.mark.parametrize(
    ("recipe", "notes"),
    [
        ({"lr": 0.01, "augmentation": {"padding": 0, "flip": False}}, ["learning rate 0.01, not 0.1", "crop and flip"]),
        ({"augmentation": {"padding": 4, "flip": False}}, ["trained without random flip"]),
        ({"epochs": 8, "batch_size": 64}, ["8 epochs, not 110", "64 images per batch, not 128"]),
        ({"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}, []),
        (
            {"schedule": "onecycle", "averaging": {"kind": "ema"}, "weight_perturbation": {"gamma": 0.005}},
            [
                "schedule onecycle, not in two steps",
                "weights averaged (EMA)",
                "adversarial weight perturbation, γ = 0.005",
            ],
        ),
        (
            {"label_smoothing": 0.1, "nesterov": True, "precision": "bf16"},
            ["label smoothing 0.1", "Nesterov momentum", "trained in bf16"],
        ),
        (
            {
                "schedule": "steps",
                "averaging": {"kind": "none"},
                "weight_perturbation": {"gamma": 0.0},
                "precision": "fp32",
            },
            [],
        ),
    ],
)
@pytest.mark.parametrize("data", ["mnist", "cifar10"])
def test_training_that_departs_from_section_4_1_is_marked(
    make_run: MakeRun, data: str, recipe: dict[str, object], notes: list[str]
) -> None:
    folder = make_run(data=data, recipe="paper", n=10_000)
    config = json.loads((folder / "config.json").read_text())
    config["recipe"] |= recipe
    (folder / "config.json").write_text(json.dumps(config))
    found = only_table(folder).footnotes
    assert len(found) == len(notes) and all(map(str.endswith, found, notes))


@pytest.mark.parametrize(
    ("data", "n", "attack", "notes"),
    [
        (
            "cifar10",
            10_000,
            {"eps": 4 / 255, "ramp": 0.5},
            ["radius 0.01569, not 8/255", "grows over 50% of the epochs"],
        ),
        ("cifar10", 10_000, {"spread": 0.6}, ["radius of training drawn for each batch, from 40% to 100%"]),
        ("cifar100", 10_000, {"step_size": 1 / 255, "steps": 7}, ["step 0.003922, not 2/255", "7 iterations, not 10"]),
        ("svhn", 26_032, {"step_size": 1 / 255}, []),
        ("svhn", 26_032, {"step_size": 2 / 255}, ["trained with an attack of step 0.007843, not 1/255"]),
        ("mnist", 10_000, {"norm": "l2"}, ["trained against l2, not linf"]),
        ("cifar10", 10_000, {"start": "normal"}, []),
    ],
)
def test_another_attack_of_training_than_section_4_1_has_is_marked(
    make_run: MakeRun, data: str, n: int, attack: dict[str, object], notes: list[str]
) -> None:
    for defense, wanted in (("at", notes), ("st", [])):
        folder = make_run(defense, data=data, recipe="paper", n=n)
        config = json.loads((folder / "config.json").read_text())
        config["recipe"]["attack"] |= attack
        (folder / "config.json").write_text(json.dumps(config))
        found = only_table(folder).footnotes
        assert len(found) == len(wanted) and all(map(str.endswith, found, wanted))


@pytest.mark.parametrize(("data", "n"), [("cifar10-c/fog/3", 10_000), ("cifar10-c/fog", 50_000)])
def test_corrupted_images_are_a_data_set_of_the_paper(make_run: MakeRun, data: str, n: int) -> None:
    folder = make_run(data="cifar10", recipe="paper", n=n)
    path = folder / "eval/demo.json"
    stored = json.loads(path.read_text()) | {"data": data}
    path.write_text(json.dumps(stored))
    assert only_table(folder).footnotes == []
    path.write_text(json.dumps(stored | {"n": 100, "indices": "0-99"}))
    assert only_table(folder).footnotes == [f"100 of {n:,} test images"]


def test_published_numbers_stand_below_measured_ones_where_data_and_backbone_match(make_run: MakeRun) -> None:
    options = {"recipe": "paper", "n": 10_000, "attacks": TABLE_2, "robust": (0.58, 0.53, 0.52, 0.50)}
    table = only_table(make_run("adv-dpnp", data="cifar10", backbone="resnet18", **options))
    assert [row.kind for row in table.rows] == ["run", "published"]
    assert texts(table)[1] == ["84.63", "58.12", "53.68", "52.61", "50.97", "50.14"]
    assert [row.kind for row in only_table(make_run("adv-dpnp", data="cifar10", **options)).rows] == ["run"]


def of_chosen_images(folder: Path, indices: str, suite: str = "demo") -> Path:
    path = folder / f"eval/{suite}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"indices": indices}))
    return folder


def test_published_numbers_do_not_stand_beside_chosen_images(make_run: MakeRun) -> None:
    options = {"recipe": "paper", "n": 1000, "attacks": TABLE_2, "robust": (0.58, 0.53, 0.52, 0.50)}
    first = make_run("adv-dpnp", data="cifar10", backbone="resnet18", **options)
    assert [row.kind for row in only_table(first).rows] == ["run", "published"]
    chosen = only_table(of_chosen_images(first, "0-998,5000"))
    assert [row.kind for row in chosen.rows] == ["run"]
    assert "on 1,000 test images (0-998,5000)" in chosen.caption
    assert any("1,000 of 10,000 test images (0-998,5000)" in note for note in chosen.footnotes)


def test_curves_of_different_chosen_images_are_pictures_of_their_own(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [
        of_chosen_images(make_run(name, everything=True), indices, "curve")
        for name, indices in (("at", "0-358,400"), ("st", "0-358,401"))
    ]
    page = write_report(folders, tmp_path / "page").read_text()
    drawn = [path.name for path in (tmp_path / "page/figures").glob("accuracy-against-eps-*")]
    assert len(drawn) == 2 and all(f"({indices})" in page for indices in ("0-358,400", "0-358,401"))


def test_published_autoattack_stands_below_the_standard_one_and_not_below_its_quick_tier(make_run: MakeRun) -> None:
    options = {"data": "cifar10", "backbone": "resnet18", "n": 10_000, "robust": (0.49,)}
    for name, printed in (("autoattack", "49.18"), ("autoattack-quick", "–")):
        table = only_table(make_run("adv-dpnp", tag=name, attacks=((name, "8/255", None, None),), **options))
        assert texts(table)[1] == ["84.63", printed, "–"]
        assert "None" not in table.columns[1].details


def test_searches_of_low_precision_and_notes_are_marked(make_run: MakeRun) -> None:
    folder = make_run(
        recipe="paper", data="cifar10", n=10_000, attacks=(("apgd-t", "8/255", 100, None),), robust=(0.5,)
    )
    path = folder / "eval/demo.json"
    stored = json.loads(path.read_text()) | {"search_precision": "bf16"}
    stored["attacks"][0]["notes"] = ["apgd-t: 3 classes"]
    path.write_text(json.dumps(stored))
    assert only_table(folder).footnotes == ["attacks searched in bf16", "apgd-t: 3 classes"]


def test_images_of_another_network_and_means_of_draws_stand_in_columns_of_their_own(make_run: MakeRun) -> None:
    for how, setting, said in (
        ({"transfer": {"source": "another", "weights": "0"}}, {"crafted_on": "another"}, "images crafted on another"),
        ({"eot": 20}, {"eot": 20}, "a randomized network, by the mean of 20 draws"),
    ):
        name = next(iter(how))
        budget = (("autoattack", "8/255", None, None),)
        options = {"data": "cifar10", "backbone": "resnet18", "n": 10_000, "robust": (0.49,), "attacks": budget}
        folder = make_run("adv-dpnp", tag=name, recipe="paper", **options)
        path = folder / "eval/demo.json"
        stored = json.loads(path.read_text()) | how
        stored["attacks"][0] |= setting
        path.write_text(json.dumps(stored))
        table = only_table(folder)
        # The paper's number is of the network's own images.
        assert texts(table)[1] == ["84.63", "–", "–"] and said in table.footnotes


def test_published_worst_case_needs_the_four_attacks_of_table_2(make_run: MakeRun) -> None:
    options = {"recipe": "paper", "n": 10_000, "attacks": CIFAR, "robust": (0.58, 0.53, 0.52)}
    table = only_table(make_run("adv-dpnp", data="cifar10", backbone="resnet18", **options))
    assert texts(table)[1] == ["84.63", "58.12", "53.68", "52.61", "–"]


def test_published_numbers_of_another_radius_are_not_shown(make_run: MakeRun) -> None:
    weak = (("pgd", "4/255", 20, "0.5/255"),)
    table = only_table(make_run("at", data="cifar100", backbone="resnet18", n=10_000, attacks=weak, robust=(0.4,)))
    assert texts(table)[1] == ["57.91", "–", "–"]


def test_a_suite_without_attacks_has_clean_accuracy_only(make_run: MakeRun) -> None:
    folder = make_run(suite="clean", attacks=(), robust=())
    table = only_table(folder, make_run("st", suite="clean", attacks=(), robust=(), clean=0.95))
    assert [column.head for column in table.columns] == ["Clean"] and "Worst case" not in table.caption
    assert "Evaluated without attack" in scope(read_runs([folder]), grouped(read_runs([folder])))


def test_one_test_image_is_no_images(make_run: MakeRun) -> None:
    runs = read_runs([make_run(n=1)])
    (results,) = grouped(runs)
    assert scope(runs, [results]).endswith(" on 1 test image (suite demo).")
    assert accuracy_table(results).caption.startswith("Accuracy in percent on 1 test image (0-0); ")


def test_geometry_stands_clean_beside_attacked_with_the_floor_of_scr(make_run: MakeRun) -> None:
    table = geometry_table(grouped(read_runs([make_run(everything=True), make_run("st")]))[0])
    assert table is not None
    heads = ["FDR Eq. 8", "FDR W/B", "FDR W/B/C", "AFS", "SCR", "SCR floor", "MeanSep °", "MinSep °"]
    assert [column.head for column in table.columns] == heads
    cells = ["4.321 | 4.321", "0.457 | 0.457", "0.046 | 0.046", "0.234 | 0.234", "1.679 | 1.679"]
    assert texts(table) == [[*cells, "1.478", "95.32", "94.51"]]
    assert "PGD-40, ℓ∞ 0.1" in table.caption


def test_the_mean_over_all_pairs_of_an_earlier_version_is_not_shown_as_mean_separation(make_run: MakeRun) -> None:
    old, new = make_run(everything=True), make_run("st", everything=True)
    path = old / "eval/demo.json"
    stored = json.loads(path.read_text())
    del stored["geometry"]["mean_pairwise_angle_degrees"]
    path.write_text(json.dumps(stored))
    table = geometry_table(grouped(read_runs([old, new]))[0])
    assert table is not None
    rows = {row.defense: (row.cells[-2].text, row.cells[-1].text, row.footnotes) for row in table.rows}
    assert rows == {"at": ("–", "94.51", (0,)), "st": ("95.32", "94.51", ())}
    (note,) = table.footnotes
    assert "all pairs" in note and "evaluate the run again" in note


def test_metrics_that_results_declare_have_columns_of_their_own(make_run: MakeRun) -> None:
    place = {"data": "cifar10", "backbone": "resnet18", "everything": True}
    with_it, without = make_run("adv-dpnp", **place), make_run("st", **place)
    path = with_it / "eval/demo.json"
    stored = json.loads(path.read_text())
    stored["geometry"]["clean"]["ncc"], stored["geometry"]["adversarial"]["ncc"] = 0.9876, None
    stored["geometry"] |= {"gap_degrees": 12.3456, "spread": 0.12345}
    stored["geometry"]["declared"] = {
        "ncc": {"title": "NCC", "better": "higher", "unit": "%"},
        "gap_degrees": {"title": "Gap", "better": "", "unit": "°"},
        "spread": {"title": "Spread", "better": "lower", "unit": ""},
    }
    path.write_text(json.dumps(stored))
    table = geometry_table(grouped(read_runs([with_it, without]))[0])
    assert table is not None
    assert [(column.head, column.budget) for column in table.columns[-3:]] == [
        ("NCC %", "clean | attacked"),
        ("Gap °", "of centers"),
        ("Spread", "of centers"),
    ]
    ends = {(row.defense, row.kind): [cell.text for cell in row.cells[-3:]] for row in table.rows}
    assert ends["adv-dpnp", "run"] == ["98.8 | –", "12.35", "0.123"]
    assert ends["st", "run"] == ["– | –", "–", "–"] and ends["adv-dpnp", "published"] == ["–"] * 3
    assert {len(row.cells) for row in table.rows} == {len(table.columns)}
    assert table.caption.endswith(" NCC: higher is better. Spread: lower is better.")


def test_no_geometry_no_table(make_run: MakeRun) -> None:
    assert geometry_table(grouped(read_runs([make_run()]))[0]) is None


def test_csv_holds_fractions_that_read_back(make_run: MakeRun) -> None:
    groups = grouped(read_runs([make_run(clean=0.9, robust=(0.7, 0.6, 0.5)), make_run("trades")]))
    rows = list(csv.DictReader(io.StringIO(to_csv(map(accuracy_table, groups)))))
    assert len(rows) == 10
    pgd = rows[2]
    assert (pgd["method"], pgd["attack"], pgd["accuracy"], pgd["n"]) == ("AT", "PGD-40", "0.6", "360")
    assert float(pgd["low"]) < 0.6 < float(pgd["high"])
    assert pgd["departures"] == "recipe “default”: 144 training images held out"


def test_latex_is_one_tabular_with_as_many_cells_in_every_line(make_run: MakeRun) -> None:
    text = to_latex(only_table(make_run("at"), make_run("trades", clean=0.95)))
    lines = [line for line in text.splitlines() if line.endswith(r"\\") or r"\\ \hline" in line]
    assert len(lines) == 3 and {line.replace(r"\&", "").count("&") for line in lines} == {5}
    assert r"\textbf{95.0}" in text and r"C\&W-30 $\ell_\infty$ 0.1" in text and r"{\scriptsize [" in text
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert all(ord(letter) < 128 for line in text.splitlines() if line not in comments for letter in line)


def test_findings_call_two_methods_apart_only_where_intervals_do_not_overlap(make_run: MakeRun) -> None:
    near = grouped(read_runs([make_run("at", clean=0.90), make_run("trades", clean=0.91)]))[0]
    far = grouped(read_runs([make_run("st", clean=0.99), make_run("mart", clean=0.70)]))[0]
    assert "highest clean accuracy is TRADES with 91.0 %" in findings(near)[1]
    assert "not told apart from AT" in findings(near)[1]
    assert ", told apart from MART" in findings(far)[1]


def test_seeds_that_lie_close_together_do_not_make_two_methods_apart(make_run: MakeRun) -> None:
    # The seeds of a method are equal, so their spread is nothing; the intervals of 360 images still overlap.
    runs = [
        make_run(name, clean=clean, seed=seed) for name, clean in (("at", 0.90), ("trades", 0.92)) for seed in (0, 1)
    ]
    assert "not told apart from AT" in findings(grouped(read_runs(runs))[0])[1]


def test_findings_say_what_one_seed_cannot_show(make_run: MakeRun) -> None:
    assert "one seed per method" in findings(grouped(read_runs([make_run("at"), make_run("st")]))[0])[-1]


def test_the_summary_says_what_was_compared_on_how_many_images(make_run: MakeRun) -> None:
    runs = read_runs([make_run("at"), make_run("adv-dpnp"), make_run("adv-dpnp", seed=1)])
    assert scope(runs, grouped(runs)) == (
        "AT and Adv-DPNP, trained on digits with the backbone tiny (3 runs). "
        "Attacked with FGSM, PGD-40 and C&W-30 on 360 test images (suite demo)."
    )


def unknown_attack(make_run: MakeRun, *settings: dict[str, object], accuracies: tuple[float, ...] = (0.6, 0.5)) -> Path:
    folder = make_run("at", attacks=(("mi-fgsm", "0.1", 10, "0.01"),) * len(settings), robust=accuracies)
    path = folder / "eval/demo.json"
    stored = json.loads(path.read_text())
    for row, more in zip(stored["attacks"], settings, strict=True):
        row |= more
    path.write_text(json.dumps(stored))
    return folder


@pytest.mark.parametrize("accuracies", [(0.6, 0.5), (0.6, 0.6)])
def test_attacks_that_differ_in_a_setting_that_nobody_knows_are_two_columns_everywhere(
    make_run: MakeRun, accuracies: tuple[float, float]
) -> None:
    folder = unknown_attack(make_run, {"decay": 0.5}, {"decay": 1.0}, accuracies=accuracies)
    page = write_report([folder], folder / "page")
    heads = ["MI-FGSM-10, decay = 0.5", "MI-FGSM-10, decay = 1"]
    assert [column.head for column in only_table(folder).columns][1:3] == heads
    with (page.parent / "results.csv").open() as file:
        rows = [(row["attack"], float(row["accuracy"])) for row in csv.DictReader(file)]
    assert rows[1:3] == list(zip(heads, accuracies, strict=True))
    latex = (page.parent / "results.tex").read_text()
    for head in heads:
        assert re.search(f'<th scope="col"[^>]*>{head}', page.read_text()) and f"{head} " in latex


def test_a_head_says_of_a_setting_only_what_tells_columns_apart(make_run: MakeRun) -> None:
    folder = unknown_attack(make_run, {"decay": 0.5, "kappa": 2.0}, {"kappa": 2.0})
    assert [column.head for column in only_table(folder).columns][1:3] == ["MI-FGSM-10, decay = 0.5", "MI-FGSM-10"]
    alone = unknown_attack(make_run, {"decay": 0.5}, accuracies=(0.6,))
    assert [column.head for column in only_table(alone).columns][1] == "MI-FGSM-10"


def test_columns_that_differ_in_their_step_say_so(make_run: MakeRun) -> None:
    attacks = (("pgd", "0.1", 20, "0.01"), ("pgd", "0.1", 20, "0.02"), ("pgd", "0.2", 20, "0.02"))
    heads = [column.head for column in only_table(make_run(attacks=attacks)).columns]
    assert heads[1:4] == ["PGD-20, step 0.01", "PGD-20, step 0.02", "PGD-20"]


def test_a_row_that_is_there_twice_is_named(make_run: MakeRun) -> None:
    folder = unknown_attack(make_run, {"decay": 0.5}, {"decay": 0.5})
    with pytest.warns(UserWarning, match=r"demo\.json holds MI-FGSM-10: .* twice"):
        assert [column.head for column in only_table(folder).columns][1:] == ["MI-FGSM-10", "Worst case"]
