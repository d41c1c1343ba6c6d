"""Held-out accuracy chooses a checkpoint, so what is no number must not look robust there."""

from typing import Any

import pytest
import torch

from advdpnp.data import Images
from advdpnp.models.classifier import Classifier
from advdpnp.training.recipe import InnerAttack
from advdpnp.training.validation import center_statistics, validate
from attacks.broken import Holes, NoGradient, off_grid
from attacks.robust import digits


def found(wrapped: Any) -> tuple[float, float]:
    _, x, y = digits(40)
    held = validate(wrapped, Images(x, y, 1), InnerAttack(eps=0.1, step_size=0.05, steps=3), batch_size=16).accuracy
    return held["clean_accuracy"], held["robust_accuracy"]


def test_without_answers_or_gradients_no_held_out_image_is_robust() -> None:
    model, *_ = digits(1)
    clean, robust = found(model)
    assert clean > robust > 0
    assert found(Holes(model, off_grid)) == (clean, 0)
    assert found(NoGradient(model, off_grid)) == (clean, 0)
    # Class 0 is what argmax makes of no numbers.
    assert found(Holes(model, lambda x: torch.ones(len(x)).bool())) == (0, 0)


class Centers(Classifier):
    """A classifier with centers of norms 2, 3 and 1 at 0, 60 and 180 degrees."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def class_centers(self) -> torch.Tensor:
        return torch.tensor([[2.0, 0.0], [1.5, 1.5 * 3**0.5], [-1.0, 0.0]])


def test_class_centers_are_logged_with_norms_and_angles_to_all_and_to_nearest_rivals() -> None:
    # Nearest rivals are 60, 60 and 120 degrees away, pairs 60, 180 and 120.
    assert center_statistics(Centers()) == pytest.approx(
        {
            "norm_mean": 2,
            "norm_min": 1,
            "norm_max": 3,
            "angle_mean_degrees": 120,
            "nearest_rival_mean_degrees": 80,
            "angle_min_degrees": 60,
        },
        rel=1e-5,
    )
