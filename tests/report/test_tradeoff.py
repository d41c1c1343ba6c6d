"""The trade-off figure: marks are stored numbers; hollow ones stand only where attack and images are the paper's."""

from pathlib import Path
from typing import Any

import pytest

from advdpnp.report.figures.tradeoff import iso_averages, measured_marks, printed_marks, tradeoff
from advdpnp.report.read import grouped, read_runs
from advdpnp.report.sections.tradeoff import tradeoff_section
from advdpnp.report.tables import attack_keys

from .conftest import MakeRun

PGD20 = (("pgd", "8/255", 20, "1/255"),)


def cifar_run(make_run: MakeRun, defense: str, robust: float, **options: Any) -> Path:
    given: dict[str, Any] = {"n": 10_000, "attacks": PGD20, "robust": (robust,), "recipe": "paper", **options}
    return make_run(defense, data="cifar10", backbone="resnet18", **given)


def test_marks_are_the_stored_accuracies_of_each_seed(make_run: MakeRun) -> None:
    folders = [cifar_run(make_run, "at", 0.5 + 0.01 * seed, seed=seed, clean=0.8 + 0.01 * seed) for seed in (0, 1)]
    (group,) = grouped(read_runs(folders))
    (key,) = attack_keys(group)
    assert [(mark.clean, mark.robust) for mark in measured_marks(group, key)] == [
        (pytest.approx(80), pytest.approx(50)),
        (pytest.approx(81), pytest.approx(51)),
    ]
    # Table 1: AT has 83.78 clean and 52.75 under PGD-20.
    assert [(mark.clean, mark.robust) for mark in printed_marks(group, key)] == [(83.78, 52.75)]
    (axes,) = tradeoff(group, [key]).axes
    dots = [line for line in axes.get_lines() if line.get_linestyle() == "None" and len(line.get_xdata()) == 1]
    assert [line.get_markerfacecolor() == "none" for line in dots] == [False, False, True]


@pytest.mark.parametrize(
    "options",
    [
        {"n": 1000},
        {"tag": "ema"},
        {"attacks": (("pgd", "8/255", 20, "2/255"),)},
        {"attacks": (("pgd", "5/255", 20, "1/255"),)},
    ],
)
def test_other_images_variants_and_attacks_have_no_hollow_mark(make_run: MakeRun, options: dict[str, Any]) -> None:
    (group,) = grouped(read_runs([cifar_run(make_run, "at", 0.5, **options)]))
    assert printed_marks(group, attack_keys(group)[0]) == []
    assert tradeoff_section([group]) == []


def test_undefended_networks_do_not_stretch_the_axes(make_run: MakeRun) -> None:
    runs = [cifar_run(make_run, "st", 0.0, clean=0.94), cifar_run(make_run, "at", 0.5), cifar_run(make_run, "ikl", 0.5)]
    (section,) = tradeoff_section(grouped(read_runs(runs)))
    assert section.pictures[0].alt.endswith("for AT, IKL.")


def test_lines_of_equal_mean_are_few_and_round() -> None:
    assert iso_averages(61.2, 64.9) == [62, 63, 64]
    assert iso_averages(60.0, 90.0) == [65, 70, 75, 80, 85]
    assert iso_averages(66.1, 66.9) == []


def test_along_a_line_the_mean_is_the_same(make_run: MakeRun) -> None:
    (group,) = grouped(read_runs([cifar_run(make_run, name, 0.5) for name in ("at", "ikl")]))
    (axes,) = tradeoff(group, attack_keys(group)).axes
    lines = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    for line in lines:
        x, y = line.get_data()
        assert (x[0] + y[0]) / 2 == pytest.approx((x[1] + y[1]) / 2)
    assert len(lines) > 1
