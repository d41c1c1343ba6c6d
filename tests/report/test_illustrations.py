"""Confusion, projections, spread and Figure 2 of the report, from files written by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advdpnp.illustrations import illustration_text, mean_over_classes, read_illustration
from advdpnp.report.figures.confusion import confusion_maps, shares
from advdpnp.report.figures.plane import feature_plane
from advdpnp.report.figures.projection import projections
from advdpnp.report.read import Embedding, read_run, read_runs, read_whole_run
from advdpnp.report.sections.confusion import confusion_section
from advdpnp.report.sections.plane import plane_section
from advdpnp.report.sections.projection import projection_section
from advdpnp.report.sections.section import METHODS_DRAWN, drawn
from advdpnp.report.sections.spread import spread_section

Json = dict[str, Any]
MakeRun = Callable[..., Path]

FIGURE_2 = {"name": "pgd", "norm": "linf", "eps": "0.3", "steps": 40, "step_size": "0.01", "restarts": 1}


def illustration(classes: int = 3, *, data: str = "mnist", n: int = 10_000, **changes: Any) -> Json:
    """Of class 0 a quarter is taken for class 1 under attack; all else is right."""
    share, wrong = n // classes, n // classes // 4
    clean = [[share * (row == column) for column in range(classes)] for row in range(classes)]
    clean[-1][-1] += n - classes * share
    attacked = [list(row) for row in clean]
    attacked[0][0], attacked[0][1] = share - wrong, wrong

    def side(scale: float) -> Json:
        return {
            "angle_degrees": [scale * 10.0, scale * 20.0, *[None] * (classes - 2)],
            "angle_to_center_degrees": [scale * 12.0] * classes,
            "radius": [0.1 * scale] * classes,
        }

    stored = {
        "schema": 1,
        "data": data,
        "n": n,
        "indices": f"0-{n - 1}",
        "checkpoint": "last",
        "epoch": 110,
        "precision": "fp32",
        "chunk": 128,
        "seed": 0,
        "attack": {**FIGURE_2, "random_start": True},
        "class_names": [f"c{label}" for label in range(classes)],
        "confusion": {"clean": clean, "adversarial": attacked},
        "dimensions": 2,
        "centers": "prototypes",
        "spread": {"clean": side(1.0), "adversarial": side(2.5)},
    }
    return stored | changes


def projection(classes: int = 3, n: int = 30) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    stars = np.arange(2.0 * classes).reshape(classes, 2)
    stars[-1] = np.nan
    points = {
        f"{kind}_{side}": random.normal(size=(n, 2)) for kind in ("pca", "tsne") for side in ("clean", "adversarial")
    }
    return points | {
        "pca_stars": stars,
        "tsne_stars": stars,
        "labels": np.arange(n) % classes,
        "explained": np.array([0.5, 0.25]),
        "stars": np.array("class centers"),
        "class_names": np.array([f"c{label}" for label in range(classes)]),
        "attack": np.array("pgd-20 linf 8/255"),
    }


def store(folder: Path, told: Json | None = None, *, wide: bool = False, flat: bool = False) -> Path:
    (folder / "eval/illustration").mkdir(parents=True, exist_ok=True)
    (folder / "eval/illustration/illustration.json").write_text(json.dumps(told or illustration()))
    if wide:
        np.savez_compressed(folder / "eval/projection.npz", **projection())
    if flat:
        points = np.zeros((told or illustration())["n"] * 2).reshape(-1, 2)
        shared = {"class_names": np.array(["c0", "c1", "c2"]), "attack": np.array("pgd-40 linf 0.3")}
        arrays = {"clean": points, "adversarial": points, "labels": np.zeros(len(points), int), "centers": np.eye(3, 2)}
        np.savez_compressed(folder / "eval/embedding.npz", **arrays, **shared)
    return folder


def test_shares_are_of_the_true_class_and_nothing_of_a_class_without_images() -> None:
    found = shares([[3, 1, 0], [0, 0, 0], [1, 1, 2]])
    assert found[[0, 2]].tolist() == [[75, 25, 0], [25, 25, 50]] and np.isnan(found[1]).all()


def test_ten_classes_have_numbers_and_a_hundred_a_legible_map_without_them() -> None:
    few = confusion_maps(read_illustration(illustration(10))).axes[1]
    assert sorted({text.get_text() for text in few.texts}) == ["100", "25", "75"]
    assert [tick.get_text() for tick in few.get_xticklabels()] == [f"c{label}" for label in range(10)]
    many = confusion_maps(read_illustration(illustration(100))).axes[1]
    assert not many.texts
    assert [tick.get_text() for tick in many.get_yticklabels()] == [str(label) for label in range(0, 100, 10)]


def test_the_most_confused_classes_and_the_accuracy_are_told(make_run: MakeRun) -> None:
    (part,) = confusion_section(read_runs([store(make_run("adv-dpnp", data="mnist")), make_run("at", data="mnist")]))
    (picture,) = part.pictures
    # 833 of the 3,333 images of class 0.
    assert "Most often confused under attack: c0 as c1 (833 of 3333)." in picture.caption
    assert "100.0% and 91.7% of the images" in picture.alt and "ε = 0.3, step 0.01" in picture.caption
    assert part.missing == ["AT, seed 0 (mnist/tiny)"]


def test_no_run_has_confusion_no_part_and_no_gap(make_run: MakeRun) -> None:
    runs = read_runs([make_run()])
    assert (confusion_section(runs), projection_section(runs), spread_section(runs)) == ([], [], [])


def test_projections_have_one_scale_in_pca_and_a_star_for_each_class_that_has_one(make_run: MakeRun) -> None:
    run = read_run(store(make_run(), wide=True))
    assert run.projection is not None and run.projection.stars == "class centers"
    panels = projections(run.projection).axes
    assert [panel.get_title().partition(",")[0] for panel in panels] == ["PCA", "PCA", "t-SNE", "t-SNE"]
    assert all(len(panel.get_lines()) == 2 for panel in panels)
    for panel in panels[:2]:
        assert np.ptp(panel.get_xlim()) == pytest.approx(np.ptp(panel.get_ylim()))
    assert panels[0].get_xlabel() == "component 1 (50% of the variance)"
    (part,) = projection_section([run])
    assert "stars: class centers" in part.pictures[0].caption and "75% of the variance" in part.pictures[0].caption
    assert "distances between clusters" in part.text


def test_the_protocol_of_figure_2_is_said_or_what_departs_from_it(make_run: MakeRun) -> None:
    paper = {"data": "mnist", "backbone": "lenets++", "recipe": "paper"}
    same = store(make_run("adv-dpnp", **paper), flat=True)
    config = json.loads((same / "config.json").read_text())
    config["recipe"]["attack"] |= {"eps": 0.3, "step_size": 0.01, "steps": 40}
    (same / "config.json").write_text(json.dumps(config))
    (one,) = plane_section([read_run(same)]).pictures
    assert one.caption.endswith("rays lead to them from the origin. Figure 2's protocol.")
    weaker = illustration(n=500, attack={**FIGURE_2, "steps": 20, "random_start": True}, centers="rows")
    other = store(make_run("at", **paper), weaker, flat=True)
    npz = dict(np.load(other / "eval/embedding.npz")) | {"attack": np.array("pgd-20 linf 0.3")}
    np.savez_compressed(other / "eval/embedding.npz", **npz)
    (two,) = plane_section([read_run(other)]).pictures
    assert (
        "Not the protocol of the paper's Figure 2: 500 of 10,000 test images; attack other than PGD-40" in two.caption
    )
    assert "Dashed: directions of the rows of the linear layer" in two.caption


def test_rows_of_a_linear_layer_are_directions_and_do_not_set_the_scale() -> None:
    # The row (30, 40) is longer than all features; as a direction it ends within them.
    points, labels = np.array([[1.0, 0.0], [0.0, -2.0]]), np.array([0, 0])
    embedding = Embedding(["c0"], points, points, labels, np.array([[30.0, 40.0]]), "pgd-40 linf 0.3")
    (ray,) = feature_plane(embedding, rows=True).axes[0].get_lines()
    x, y = (line[1] for line in ray.get_data())
    assert (x, y) == pytest.approx((0.88 * 2.24 * 0.6, 0.88 * 2.24 * 0.8))
    ray, star = feature_plane(embedding).axes[0].get_lines()
    assert [line[1] for line in ray.get_data()] == [30, 40] and star.get_marker() == "*"


def test_arrays_of_an_earlier_version_are_drawn_and_marked(make_run: MakeRun) -> None:
    run = read_run(make_run("adv-dpnp", everything=True))
    assert run.illustration is None and run.samples is not None and run.samples.attack == "pgd-40 linf 0.1"
    (picture,) = plane_section([run]).pictures
    assert picture.caption.endswith("Not the protocol of the paper's Figure 2: digits/tiny, not mnist/lenets++.")
    paper = read_run(make_run("at", data="mnist", backbone="lenets++", everything=True))
    (picture,) = plane_section([paper]).pictures
    assert "Figure 2: step of the attack not recorded; recipe “default”" in picture.caption


def test_the_spread_is_a_mean_over_the_classes_that_have_one(make_run: MakeRun) -> None:
    (part,) = spread_section(read_runs([store(make_run("adv-dpnp", data="mnist", backbone="lenets++"))]))
    (row,) = part.tables[0].rows
    # Clean (10 + 20) / 2, attacked 2.5 times that.
    assert [cell.text for cell in row.cells] == ["15.0° | 37.5°", "12.0° | 30.0°", "10.0 % | 25.0 %", "c1, 50.0°"]
    assert [cell.difference for cell in row.cells[:3]] == ["+22.5°", "+18.0°", "+15.0 points"]
    assert part.tables[0].footnotes[0].startswith("recipe “default”")
    assert mean_over_classes([None, 2.0, 4.0]) == 3 and mean_over_classes([None]) is None


def test_pictures_are_of_the_first_seed_and_not_of_two_hundred_methods(make_run: MakeRun) -> None:
    runs = read_runs([make_run(tag=f"t{tag}", seed=seed) for tag in range(METHODS_DRAWN + 2) for seed in (1, 0)])
    shown, left_out = drawn(runs, lambda run: run)
    assert [(run.tag, run.seed) for run, _ in shown] == [(f"t{tag}", 0) for tag in range(METHODS_DRAWN)]
    assert "shows the other 2" in left_out and drawn(runs[:2], lambda run: run)[1] == ""


SPREAD = illustration()["spread"]["clean"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": 2}, "schema 2"),
        ({"n": 5}, "confusion is no counts of 5 images"),
        ({"class_names": ["a", "b"]}, "confusion is not of 2 classes"),
        ({"confusion": {"clean": []}}, "confusion is no counts"),
        ({"attack": {}}, "no 'name'"),
        ({"spread": {"clean": {}}}, "no 'angle_degrees'"),
        ({"dimensions": 0}, "dimensions is 0, not at least 1"),
        ({"chunk": -1}, "chunk is -1, not at least 1"),
        ({"spread": {"clean": SPREAD | {"angle_degrees": [200.0] * 3}}}, "angle_degrees[0] is 200.0, not in [0, 180]"),
        ({"spread": {"clean": SPREAD | {"radius": [0.1, -0.1, 0.1]}}}, "radius[1] is -0.1, not at least 0"),
    ],
)
def test_damage_is_one_line_with_the_file_and_a_cure(make_run: MakeRun, changes: Json, problem: str) -> None:
    folder = store(make_run(), illustration() | changes)
    with pytest.raises(ValueError, match=r"illustration\.json is damaged") as error:
        read_whole_run(folder)
    assert problem in str(error.value) and "advdpnp illustrate" in str(error.value)


def test_the_text_of_the_command_names_attack_accuracy_and_spread() -> None:
    lines = illustration_text(read_illustration(illustration())).splitlines()
    assert lines[:3] == [
        "mnist, the first 10,000 test images, checkpoint last",
        "attack: PGD-40: ℓ∞, ε = 0.3, step 0.01, random start, 1 restart",
        "right: 100.00% clean, 91.67% attacked",
    ]
    assert lines[3] == "most often confused, attacked: c0 as c1 (833 of 3333)"
    assert lines[5].split() == "angle to the mean direction 15.0° 37.5°".split()
