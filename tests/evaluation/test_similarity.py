"""Cosines of class centers as an evaluation stores them, against ones computed by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp import api
from advdpnp.api.loading import load_checkpoint
from advdpnp.evaluation.similarity import MOST_CLASSES, center_similarity, store_similarity
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Run


class Centers(Classifier):
    """A classifier with given class centers."""

    def __init__(self, centers: torch.Tensor | None) -> None:
        torch.nn.Module.__init__(self)
        self.centers = centers

    def class_centers(self) -> torch.Tensor:
        if self.centers is None:
            raise TypeError("no class centers")
        return self.centers


def test_cosines_are_those_of_the_angles_and_norms_are_kept() -> None:
    # At 0, 60 and 180 degrees.
    found = center_similarity(torch.tensor([[2.0, 0.0], [1.5, 1.5 * 3**0.5], [-1.0, 0.0]]))
    assert found["cosines"] == pytest.approx(np.array([[1, 0.5, -1], [0.5, 1, -0.5], [-1, -0.5, 1]]), abs=1e-6)
    assert found["norms"] == pytest.approx(np.array([2, 3, 1]))


def test_a_run_has_them_in_a_file_with_names_and_checkpoint(tmp_path: Path) -> None:
    store_similarity(Run(tmp_path), Centers(torch.eye(3)), ("a", "b", "c"), "best")
    with np.load(tmp_path / "eval" / "centers.npz") as stored:
        assert stored["cosines"].tolist() == np.eye(3).tolist()
        assert stored["class_names"].tolist() == ["a", "b", "c"] and str(stored["checkpoint"]) == "best"


def test_networks_without_centers_or_with_too_many_store_nothing(tmp_path: Path) -> None:
    many = MOST_CLASSES + 1
    store_similarity(Run(tmp_path), Centers(torch.eye(many)), tuple(map(str, range(many))), "last")
    store_similarity(Run(tmp_path), Centers(None), ("a", "b"), "last")
    assert not (tmp_path / "eval").exists()


def test_an_evaluation_of_geometry_stores_those_of_the_weights_that_it_measured(run: Path) -> None:
    api.evaluate(run, "clean", limit=20, checkpoint="last")
    assert not (run / "eval" / "centers.npz").exists()
    api.evaluate(run, "pgd20", limit=20, checkpoint="best")
    model, _ = load_checkpoint(Run(run), "best", torch.device("cpu"))
    unit = torch.nn.functional.normalize(model.class_centers())
    with np.load(run / "eval" / "centers.npz") as stored:
        assert stored["cosines"] == pytest.approx((unit @ unit.T).numpy(), abs=1e-6)
        assert stored["class_names"].tolist() == list("0123456789") and str(stored["checkpoint"]) == "best"
