"""Similarity of class centers in reports: axes' data against a matrix written down by hand."""

from pathlib import Path

import numpy as np
import pytest

from advdpnp.report.figures.similarity import similarity_maps
from advdpnp.report.read import read_run, read_runs
from advdpnp.report.sections.similarity import similarity_section
from advdpnp.report.similarity import stored_similarity
from advdpnp.runs import Run

from .conftest import MakeRun

COSINES = np.array([[1, 0.5, -0.25], [0.5, 1, 0.1], [-0.25, 0.1, 1]], dtype=np.float32)


def with_centers(folder: Path, cosines: np.ndarray) -> Path:
    names = np.array([f"class {k}" for k in range(len(cosines))])
    norms = np.full(len(cosines), 40, dtype=np.float32)
    path = folder / "eval" / "centers.npz"
    np.savez_compressed(path, cosines=cosines, norms=norms, class_names=names, checkpoint=np.array("last"))
    return folder


def test_cells_are_the_stored_cosines_and_nearest_rivals_are_bold(make_run: MakeRun) -> None:
    run = read_run(with_centers(make_run(), COSINES))
    axes = similarity_maps([run]).axes[0]
    drawn = np.ma.filled(axes.images[0].get_array(), np.nan)  # type: ignore[no-untyped-call]
    assert np.array_equal(drawn, np.where(np.eye(3) == 1, np.nan, COSINES), equal_nan=True)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 0", "class 1", "class 2"]
    texts = {(int(text.get_position()[1]), int(text.get_position()[0])): text for text in axes.texts}
    assert {cell: text.get_text() for cell, text in texts.items() if cell[0] == 0} == {(0, 1): ".50", (0, 2): "−.25"}
    assert {cell for cell, text in texts.items() if text.get_fontweight() == "bold"} == {(0, 1), (1, 0), (2, 1)}


def test_the_most_alike_pair_is_said_with_its_angle(make_run: MakeRun) -> None:
    (section,) = similarity_section(read_runs([with_centers(make_run(), COSINES)]))
    # arccos 0.5 is 60 degrees.
    assert "class 0 and class 1 for AT, 0.50 (60.0°)" in section.pictures[0].caption


def test_orthogonal_centers_have_no_nearest_rival(make_run: MakeRun) -> None:
    similarity = read_run(with_centers(make_run(), np.eye(6, dtype=np.float32))).similarity
    assert similarity is not None and not similarity.rivals.any()


def test_a_hundred_classes_have_a_figure_of_their_own_with_all_names(make_run: MakeRun) -> None:
    runs = read_runs([with_centers(make_run(name), np.eye(100, dtype=np.float32)) for name in ("at", "oc")])
    (section,) = similarity_section(runs)
    assert len(section.pictures) == 2
    axes = similarity_maps(runs[:1]).axes[0]
    assert len(axes.get_xticklabels()) == 100 and not axes.texts


def test_a_damaged_file_is_named_and_runs_without_one_have_no_part(make_run: MakeRun) -> None:
    folder = make_run()
    assert similarity_section([read_run(folder)]) == []
    with_centers(folder, np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match=r"centers\.npz is damaged .* evaluate the run again"):
        stored_similarity(Run(folder))


def test_names_of_classes_are_short_and_without_controls(make_run: MakeRun) -> None:
    folder = with_centers(make_run(), COSINES)
    path = folder / "eval" / "centers.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez_compressed(path, **arrays | {"class_names": np.array(["a\x1b[31m", "b" * 500, "c"])})
    similarity = stored_similarity(Run(folder))
    assert similarity is not None and similarity.class_names[0] == "a\ufffd[31m"
    assert max(map(len, similarity.class_names)) <= 60
