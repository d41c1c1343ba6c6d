import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from advdpnp.report.figures import drawing
from advdpnp.report.figures.drawing import to_svg
from advdpnp.report.figures.images import amplification, attacked_images
from advdpnp.report.figures.plane import feature_plane
from advdpnp.report.figures.radius import accuracy_against_eps
from advdpnp.report.figures.training import drawn_epochs, term_names, training_curves
from advdpnp.report.read import Result, RunResults, Samples, read_run, read_runs
from advdpnp.report.sections.training import training_section

from .conftest import epoch

MakeRun = Callable[..., Path]


def curves(*folders: Path) -> list[Result]:
    return [Result(run, run.curve) for run in read_runs(list(folders)) if run.curve]


def images(perturbation: float) -> Samples:
    clean = np.full((2, 3, 4, 4), 0.5, dtype=np.float32)
    labels = np.array([0, 1])
    return Samples(["cat", "dog"], clean, clean + np.float32(perturbation), labels, labels, labels[::-1], "fgsm")


def test_a_figure_is_the_same_bytes_every_time(make_run: MakeRun) -> None:
    results = curves(make_run(everything=True))
    first, second = (to_svg(lambda: accuracy_against_eps(results), "title") for _ in range(2))
    assert first == second and ElementTree.fromstring(first).tag.endswith("svg")


def test_placing_the_parts_first_changes_no_byte(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    results = curves(make_run(everything=True))
    placed = to_svg(lambda: accuracy_against_eps(results), "title")
    monkeypatch.setattr(drawing, "_lay_out", lambda figure: None)
    assert to_svg(lambda: accuracy_against_eps(results), "title") == placed


def test_a_curve_starts_at_the_clean_accuracy_and_averages_seeds(make_run: MakeRun) -> None:
    options = {"everything": True, "suite": "demo"}
    results = curves(make_run(seed=0, clean=0.9, **options), make_run(seed=1, clean=0.8, **options))
    (axes,) = accuracy_against_eps(results).axes
    x, y = axes.get_lines()[0].get_data()
    assert x == pytest.approx([0, 0.025, 0.05, 0.1, 0.2])
    assert y == pytest.approx([85 * (1 - 3 * eps) for eps in x])


@pytest.mark.parametrize(("perturbation", "factor"), [(0.1, 5), (8 / 255, 15), (0.3, 1), (0.0, 1)])
def test_amplified_perturbations_stay_in_range(perturbation: float, factor: int) -> None:
    assert amplification(images(perturbation)) == factor


def test_predictions_are_marked_right_or_wrong_by_more_than_color() -> None:
    (axes,) = attacked_images(images(0.1)).axes
    marked = [text for text in axes.texts if text.get_text()[-1] in "✓✗"]
    assert {text.get_text() for text in marked} == {"cat ✓", "dog ✓", "dog ✗", "cat ✗"}
    colors = {text.get_text()[-1]: text.get_color() for text in marked}
    assert colors["✓"] != colors["✗"]


def test_the_feature_plane_has_equal_scales_and_a_star_for_each_class(make_run: MakeRun) -> None:
    embedding = read_run(make_run(everything=True)).embedding
    assert embedding is not None
    clean, attacked = feature_plane(embedding).axes
    assert clean.get_xlim() == clean.get_ylim() == attacked.get_xlim()
    assert clean.get_box_aspect() == attacked.get_box_aspect() == 1
    assert sum(line.get_marker() == "*" for line in clean.get_lines()) == 10


def test_negative_terms_get_a_panel_of_their_own(make_run: MakeRun) -> None:
    run = read_run(make_run(everything=True, terms=("ce_clean", "dnp")))
    for line in run.epochs:
        line["loss"]["dnp"] *= -100
    panels = [panel for panel in training_curves([[run]], ["total", "ce_clean", "dnp"]).axes if panel.axison]
    assert [panel.get_ylabel() for panel in panels] == [
        "weighted loss",
        "loss, negative part",
        "held-out accuracy (%)",
        "norm of class centers",
        "angle of class centers (°)",
    ]
    assert [line.get_label() for line in panels[0].get_lines()] == ["total", "CE clean"]
    assert [line.get_label() for line in panels[1].get_lines()] == ["DNP"]


def test_a_run_without_held_out_images_has_no_panel_for_them(make_run: MakeRun) -> None:
    run = read_run(make_run(everything=True))
    for line in run.epochs:
        line["holdout"] = None
    labels = {panel.get_ylabel() for panel in training_curves([[run]], term_names([run])).axes}
    assert "held-out accuracy (%)" not in labels


def of_epochs(make_run: MakeRun, count: int) -> RunResults:
    folder = make_run(everything=True)
    lines = [json.dumps(epoch(number, count, ("ce_clean",))) + "\n" for number in range(1, count + 1)]
    (folder / "train.jsonl").write_text("".join(lines))
    return read_run(folder)


def test_long_trainings_are_thinned_and_it_is_said(make_run: MakeRun) -> None:
    run = of_epochs(make_run, 10_000)
    drawn = [line["epoch"] for line in drawn_epochs(run)]
    assert drawn == [*range(1, 10_000, 20), 10_000]
    (section,) = [training_section([run])]
    assert "Of 10,000 epochs one in 20 is drawn, the first and the last among them." in section.pictures[0].caption
    assert len(section.pictures[0].svg) < 300_000
    whole = of_epochs(make_run, 500)
    assert len(drawn_epochs(whole)) == 500 and "is drawn" not in training_section([whole]).pictures[0].caption


def test_norms_and_rivals_of_class_centers_are_those_of_the_log(make_run: MakeRun) -> None:
    run = of_epochs(make_run, 3)
    for line in run.epochs:
        line["centers"] |= {"norm_mean": 30.0 + line["epoch"], "nearest_rival_mean_degrees": 90.0}
    panels = {axes.get_ylabel(): axes for axes in training_curves([[run]], term_names([run])).axes if axes.get_ylabel()}
    (norms,) = panels["norm of class centers"].get_lines()
    assert norms.get_ydata() == pytest.approx([31, 32, 33])
    angles = {line.get_label(): line for line in panels["angle of class centers (°)"].get_lines()}
    assert angles["nearest rival, mean"].get_ydata() == pytest.approx([90, 90, 90])
    assert angles["nearest rival, smallest"].get_ydata() == pytest.approx([80.5, 81, 81.5])
    assert len({line.get_linestyle() for line in angles.values()}) == 3


@pytest.mark.parametrize("name", ["norm_mean", "norm_min", "norm_max"])
def test_a_gap_in_one_norm_is_a_gap_and_ends_no_report(make_run: MakeRun, name: str) -> None:
    run = of_epochs(make_run, 3)
    run.epochs[1]["centers"][name] = None
    panels = {axes.get_ylabel(): axes for axes in training_curves([[run]], term_names([run])).axes if axes.get_ylabel()}
    (norms,) = panels["norm of class centers"].get_lines()
    assert len(norms.get_ydata()) == (2 if name == "norm_mean" else 3)


def test_older_logs_have_no_line_for_what_they_lack(make_run: MakeRun) -> None:
    run = of_epochs(make_run, 3)
    panels = {axes.get_ylabel(): axes for axes in training_curves([[run]], term_names([run])).axes}
    labels = [line.get_label() for line in panels["angle of class centers (°)"].get_lines()]
    assert labels == ["nearest rival, smallest", "all pairs, mean"]
