"""Held-out accuracy chooses a checkpoint, so what is no number must not look robust there."""

from typing import Any

import torch

from advdpnp.data import Images
from advdpnp.training.recipe import InnerAttack
from advdpnp.training.validation import validate
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
