"""The suites of the paper's tables, in the numbers that the paper prints for CIFAR-10: 3x32x32 pixels, eps 8/255."""

from typing import Any

import pytest

from advdpnp.attacks import ATTACKS, COLLECTIONS, record, suite, suite_names
from advdpnp.report.published.tables import TABLE_8
from advdpnp.results import AttackKey
from advdpnp.runs import Json

EPS, PIXELS = 8 / 255, 3 * 32 * 32


def protocol(name: str) -> list[Json]:
    """Every attack of a table, as results have it."""
    found = []
    for part in COLLECTIONS[name].parts:
        found += [record(attack) for attack in suite(part.suite, part.scale * EPS, PIXELS).attacks]
    return found


def pgd(eps: str, step_size: str, steps: int = 20, norm: str = "linf", **more: Any) -> Json:
    fields = {"name": "pgd", "norm": norm, "eps": eps, "steps": steps, "step_size": step_size, "restarts": 1}
    return fields | {"random_start": True} | more


def autoattack(eps: str = "8/255") -> Json:
    found = record(ATTACKS["autoattack"](eps=EPS))  # type: ignore[call-arg]
    return found | {"eps": eps}


def test_table1_has_the_attacks_of_section_4_2() -> None:
    # linf: eps 8/255, step 1/255, 20 iterations; l2: eps 128/255, step 16/255, 20 iterations; AutoAttack.
    found = protocol("table1")
    assert found[0] == pgd("8/255", "1/255")
    assert found[1] == pgd("128/255", "16/255", norm="l2")
    assert found[-1] == autoattack()


def test_table2_has_both_conventions() -> None:
    # Of the code: steps of 0.8/255 from the image itself; C&W of 30 iterations with a confidence of 50.
    code = {"random_start": False}
    fgsm = {"name": "fgsm", "norm": "linf", "eps": "8/255", "steps": 1, "step_size": "8/255", "restarts": 1} | code
    cw = {"name": "cw", "norm": "linf", "eps": "8/255", "steps": 30, "step_size": "0.8/255", "restarts": 1} | code
    found = protocol("table2")
    assert found[:4] == [fgsm, pgd("8/255", "0.8/255", **code), pgd("8/255", "0.8/255", 100, **code), cw]
    assert ATTACKS["cw"](eps=EPS).kappa == 50  # type: ignore[attr-defined, call-arg]
    # Of the text: PGD-20 with a step of 1/255.
    assert found[4:] == [fgsm, pgd("8/255", "1/255"), autoattack()]


def test_table3_has_pgd_and_autoattack_at_2_4_and_6() -> None:
    # The step is that of Figure 4, 2.5 eps / 20, since none is printed.
    assert protocol("table3") == [
        *(pgd(f"{eps}/255", f"{2.5 * eps / 20:g}/255") for eps in (2, 4, 6)),
        *(autoattack(f"{eps}/255") for eps in (2, 4, 6)),
    ]


def test_table4_measures_features_under_pgd20_in_linf() -> None:
    (part,) = COLLECTIONS["table4"].parts
    text = suite(part.suite, EPS, PIXELS)
    assert text.features is not None
    assert record(text.attacks[text.features]) == pgd("8/255", "1/255")


def test_table6_has_20_to_500_iterations_with_a_step_of_1() -> None:
    assert protocol("table6") == [pgd("8/255", "1/255", steps) for steps in (20, 40, 100, 250, 500)]


def test_table7_has_1_to_20_random_starts_of_40_iterations() -> None:
    # Eps 8/255, 40 iterations, step 0.5/255.
    assert protocol("table7") == [pgd("8/255", "0.5/255", 40, restarts=starts) for starts in (1, 5, 10, 20)]


def test_table8_has_pgd20_on_both_losses() -> None:
    # No budget is printed for this table: that of PGD-20 in the text, whose number is in Tables 1 and 2 too.
    on_objective = pgd("8/255", "1/255") | {"name": "adaptive-pgd"}
    assert [{**row, "objective": None} for row in protocol("table8")] == [
        {**row, "objective": None} for row in (pgd("8/255", "1/255"), on_objective)
    ]


def test_figure4_has_pgd20_and_fgsm_at_the_same_radii() -> None:
    # The caption: 20 iterations, step 2.5 eps / 20. It prints no radii: up to where PGD must break everything.
    found = protocol("figure4")
    attacked = [row for row in found if row["name"] == "pgd"]
    radii = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    assert attacked == [pgd(f"{eps}/255", f"{2.5 * eps / 20:g}/255") for eps in radii]
    assert [(row["eps"], row["steps"]) for row in found if row["name"] == "fgsm"] == [
        (row["eps"], 1) for row in attacked
    ]


def test_full_has_every_evaluation_once_and_autoattack_last() -> None:
    parts = COLLECTIONS["full"].parts
    assert len(set(parts)) == len(parts)
    assert set(parts) == {part for name, table in COLLECTIONS.items() if name != "full" for part in table.parts}
    assert [part.suite for part in parts[-4:]] == ["autoattack"] * 4


def test_every_part_is_a_suite_and_no_table_has_the_name_of_one() -> None:
    assert {part.suite for table in COLLECTIONS.values() for part in table.parts} <= set(suite_names())
    assert not set(COLLECTIONS) & set(suite_names())


@pytest.mark.parametrize("eps, last", [(0.3, 0.9), (8 / 255, 64 / 255)])
def test_a_curve_ends_where_all_images_are_in_reach(eps: float, last: float) -> None:
    assert suite("curve-pgd", eps, 784).attacks[-1].eps == pytest.approx(last)


def test_table8_of_a_run_of_adv_dpnp_is_the_papers() -> None:
    row = protocol("table8")[1] | {"objective": "adv-dpnp"}
    assert any(printed.fits(AttackKey.read(row)) for column in TABLE_8.columns for printed in column.protocols)
