"""What attacks change: geometry of attacked minus clean images, and accuracy in other norms as a share of clean."""

import json
from pathlib import Path
from typing import Any

from advdpnp.report.geometry_changes import geometry_changes
from advdpnp.report.norm_transfer import norm_transfer
from advdpnp.report.read import Result, grouped, read_runs
from advdpnp.report.tables import Row

from .conftest import MakeRun, attack, evaluation, geometry, write_json

STEP = "1/255"


def texts(row: Row) -> list[tuple[str, str]]:
    return [(cell.text, cell.difference) for cell in row.cells]


def evaluated(make_run: MakeRun, n: int, attacked: dict[str, Any], step: str = STEP) -> list[Result]:
    folder = make_run("at", data="cifar10", backbone="resnet18", recipe="paper", suite=None)
    result = evaluation("text", "cifar10", n, 0.84, [attack("pgd", "8/255", 20, step, 0.5, n)])
    stored = geometry(1.0)
    stored["adversarial"] |= attacked
    write_json(folder / "eval" / "text.json", result | {"geometry": stored})
    (group,) = grouped(read_runs([folder]))
    return group


def test_changes_are_attacked_minus_clean_and_a_share_of_clean(make_run: MakeRun) -> None:
    # Clean: 4.321, 0.4567, 0.04567, 0.2345, 1.6789.
    attacked = {"fdr_eq8": 8.642, "afs": 0.1345, "scr": None, "attack": "pgd-20 linf 8/255"}
    table = geometry_changes(evaluated(make_run, 1000, attacked))
    assert table is not None and [row.kind for row in table.rows] == ["run"]
    assert texts(table.rows[0]) == [
        ("+4.321", "+100 % of clean"),
        ("+0.000", "+0 % of clean"),
        ("+0.000", "+0 % of clean"),
        ("−0.100", "−43 % of clean"),
        ("–", ""),
    ]


def test_the_papers_change_stands_below_its_own_attack_on_all_its_images(make_run: MakeRun) -> None:
    fitting: dict[str, Any] = {"attack": "pgd-20 linf 8/255"}
    table = geometry_changes(evaluated(make_run, 10_000, fitting))
    # Table 4, AT on CIFAR-10: FDR 0.082 and 0.161, AFS 0.351 and 0.584, SCR 0.599 and 0.613.
    assert table is not None and [row.kind for row in table.rows] == ["run", "published"]
    printed = [("+0.079", "+96 % of clean"), ("+0.233", "+66 % of clean"), ("+0.014", "+2 % of clean")]
    assert texts(table.rows[1]) == [("–", ""), ("–", ""), *printed]
    for n, attacked, step in (
        (1000, fitting, STEP),
        (10_000, {"attack": "pgd-40 linf 8/255"}, STEP),
        (10_000, fitting, "4/255"),
    ):
        table = geometry_changes(evaluated(make_run, n, attacked, step))
        assert table is not None and [row.kind for row in table.rows] == ["run"]


def test_without_geometry_there_is_no_table(make_run: MakeRun) -> None:
    (group,) = grouped(read_runs([make_run()]))
    assert geometry_changes(group) is None


def in_norms(make_run: MakeRun, defense: str, n: int = 10_000, **options: Any) -> Path:
    folder = make_run(defense, data="cifar10", backbone="resnet18", recipe="paper", suite=None, **options)
    rows = [
        attack("pgd", "8/255", 20, "1/255", 0.5, n),
        attack("pgd", "128/255", 20, "16/255", 0.6, n, norm="l2"),
        attack("pgd", "2000/255", 100, "50/255", 0.4, n, norm="l1"),
    ]
    write_json(folder / "eval" / "norms.json", evaluation("norms", "cifar10", n, 0.8, rows))
    return folder


def test_accuracy_in_other_norms_is_a_share_of_clean(make_run: MakeRun) -> None:
    (group,) = grouped(read_runs([in_norms(make_run, "at"), in_norms(make_run, "st")]))
    table = norm_transfer(group)
    assert table is not None
    # The undefended network was not trained against linf.
    assert [(row.kind, row.method) for row in table.rows] == [("run", "AT"), ("published", "AT")]
    assert [column.budget for column in table.columns] == ["", "ℓ∞ 8/255", "ℓ2 128/255", "ℓ1 2000/255"]
    # 0.5, 0.6 and 0.4 of 0.8.
    shares = [("80.00", ""), ("50.00", "62 % of clean"), ("60.00", "75 % of clean"), ("40.00", "50 % of clean")]
    assert texts(table.rows[0]) == shares
    # Table 1: 52.75, 63.72 and 51.04 of 83.78.
    assert [cell.difference for cell in table.rows[1].cells] == ["", "63 % of clean", "76 % of clean", "61 % of clean"]


def test_networks_of_another_norm_and_suites_of_linf_alone_are_left_out(make_run: MakeRun) -> None:
    folder = in_norms(make_run, "at")
    config = json.loads((folder / "config.json").read_text())
    config["recipe"]["attack"]["norm"] = "l2"
    write_json(folder / "config.json", config)
    (group,) = grouped(read_runs([folder]))
    assert norm_transfer(group) is None
    (group,) = grouped(read_runs([make_run("at")]))
    assert norm_transfer(group) is None


def test_seeds_are_a_mean_and_fewer_images_have_no_published_row(make_run: MakeRun) -> None:
    (group,) = grouped(read_runs([in_norms(make_run, "at", 1000, seed=seed) for seed in (0, 1)]))
    table = norm_transfer(group)
    assert table is not None and [(row.kind, row.source) for row in table.rows] == [("mean", "mean of 2 seeds")]
