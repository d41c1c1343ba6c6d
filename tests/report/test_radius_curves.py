"""Figure 4: both attacks in one figure, and where each curve ends, against numbers counted by hand."""

from pathlib import Path

import pytest

from advdpnp.report.figures.radius import accuracy_against_eps
from advdpnp.report.radius_curves import comparable_curves, ends
from advdpnp.report.read import read_runs
from advdpnp.report.sections.curves import curves_section

from .conftest import MakeRun, attack, evaluation, write_json

N = 1000
RADII = ("8/255", "16/255", "32/255")


def run_with_curves(make_run: MakeRun, defense: str, pgd: list[float], fgsm: list[float], seed: int = 0) -> Path:
    folder = make_run(defense, data="cifar10", backbone="resnet18", seed=seed, suite=None)
    for suite, name, steps, accuracies in (("curve-pgd", "pgd", 20, pgd), ("curve-fgsm", "fgsm", 1, fgsm)):
        rows = [attack(name, eps, steps, "1/255", found, N) for eps, found in zip(RADII, accuracies, strict=True)]
        write_json(folder / "eval" / f"{suite}.json", evaluation(suite, "cifar10", N, 0.8, rows))
    return folder


def test_both_attacks_of_one_method_are_lines_of_one_panel(make_run: MakeRun) -> None:
    (results,) = comparable_curves(read_runs([run_with_curves(make_run, "at", [0.5, 0.1, 0.0], [0.6, 0.3, 0.2])]))
    (axes,) = accuracy_against_eps(results).axes
    pgd, fgsm, *_ = axes.get_lines()
    assert [pgd.get_label(), fgsm.get_label()] == ["PGD-20", "FGSM"]
    assert list(pgd.get_xdata()) == pytest.approx([0, 8, 16, 32])  # type: ignore[arg-type]
    assert list(pgd.get_ydata()) == pytest.approx([80, 50, 10, 0])  # type: ignore[arg-type]
    assert list(fgsm.get_ydata()) == pytest.approx([80, 60, 30, 20])  # type: ignore[arg-type]
    assert pgd.get_linestyle() != fgsm.get_linestyle()


def test_methods_have_a_panel_for_each_attack(make_run: MakeRun) -> None:
    folders = [
        run_with_curves(make_run, name, [0.5, first, 0.0], [0.6, 0.3, 0.2]) for name, first in (("at", 0.1), ("st", 0))
    ]
    (results,) = comparable_curves(read_runs(folders))
    panels = accuracy_against_eps(results).axes
    assert [axes.get_title(loc="left") or axes.get_title() for axes in panels] == ["PGD-20", "FGSM"]
    drawn = {
        line.get_label(): line.get_ydata()[2] for line in panels[0].get_lines() if line.get_label() in ("ST", "AT")
    }
    assert drawn == {"ST": pytest.approx(0), "AT": pytest.approx(10)}


def test_what_is_left_at_the_largest_radius_is_said(make_run: MakeRun) -> None:
    folders = [
        run_with_curves(make_run, "at", [0.5, 0.1, 0.0], [0.6, 0.3, 0.2]),
        run_with_curves(make_run, "st", [0.1, 0.0, 0.0], [0.2, 0.0, 0.1]),
        run_with_curves(make_run, "trades", [0.5, 0.1, 0.004], [0.6, 0.3, 0.2], seed=0),
        run_with_curves(make_run, "trades", [0.5, 0.1, 0.0], [0.6, 0.3, 0.1], seed=1),
    ]
    (results,) = comparable_curves(read_runs(folders))
    pgd, fgsm = ([one for one in results if one.suite.name == suite] for suite in ("curve-pgd", "curve-fgsm"))
    assert list(ends(pgd)) == [
        "PGD-20 leaves no image right from ε = 16/255 on: ST.",
        "PGD-20 leaves no image right from ε = 32/255 on: AT.",
        # The mean of 0.4 and 0 percent.
        "PGD-20 does not reach 0 % within the radii measured: TRADES has 0.2 % left at 32/255.",
    ]
    # A curve that rises again has not reached 0.
    assert "ST has 10.0 % left at 32/255, AT has 20.0 %" in " ".join(ends(fgsm))
    (picture,) = curves_section(read_runs(folders)).pictures
    assert "TRADES has 0.2 % left" in picture.caption
