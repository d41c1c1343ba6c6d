"""What an evaluation says of attacks at a class of one's choice: counts that are known by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from advdpnp.attacks import APGDT, FABT, PGD
from advdpnp.attacks.suites import Suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.metrics import unpack
from advdpnp.result_files import merge_shards, targeted
from advdpnp.results import read_evaluation
from advdpnp.runs import Json
from attacks.linear import LinearClassifier


def model() -> LinearClassifier:
    """Logits z_k = 10 x_k of four pixels and classes."""
    return LinearClassifier(10 * torch.eye(4), torch.zeros(4)).eval()


def images() -> tuple[Tensor, Tensor]:
    """Attacked at class 3, within 0.1 of each pixel: two get there, one does not, two are not aimed at."""
    x = torch.tensor(
        [
            [0.5, 0.1, 0.1, 0.4],  # a lead of 0.1 over class 3: reached
            [0.1, 0.5, 0.3, 0.38],  # 0.12, and class 2 is not in the way: reached
            [0.1, 0.1, 0.6, 0.2],  # 0.4, more than twice 0.1: not reached
            [0.1, 0.1, 0.2, 0.9],  # of class 3 itself: not aimed at
            [0.9, 0.1, 0.1, 0.8],  # labelled 1, but seen as 0: wrong without an attack
        ]
    )
    return x.view(5, 1, 2, 2), torch.tensor([0, 1, 2, 3, 1])


ATTACKS: list[Any] = [
    PGD(eps=0.1, target=3),
    APGDT(eps=0.1, steps=10, target=3),
    FABT(eps=0.1, steps=10, target=3),
]
EACH = pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])


def run(attack: Any, x: Tensor, y: Tensor, shard: tuple[int, int] = (1, 1)) -> Json:
    suite, facts = Suite("aimed", "", (attack,), None), {"data": "pixels", "checkpoint": "made", "precision": "fp32"}
    return evaluate(model(), Images(x, y, levels=1), Evaluation(suite, len(x), facts, shard=shard), Silent())


@EACH
def test_success_is_counted_beside_the_accuracy(attack: Any) -> None:
    result = run(attack, *images())
    row = result["attacks"][0]
    assert row["target"] == 3
    assert row["targeted"] == targeted(3, 2, 3)
    assert row["targeted"]["success"] == 2 / 3 and row["targeted"]["images"] == 3
    # The accuracy is about the label: images 2 and 3 are right still.
    assert unpack(row["verdicts"], 5).tolist() == [False, False, True, True, False]
    assert row["robust_accuracy"] == result["worst_case_accuracy"] == 0.4


@EACH
def test_shards_add_up(attack: Any) -> None:
    parts = [run(attack, *images(), shard=(part, 2)) for part in (1, 2)]
    whole, merged = run(attack, *images()), merge_shards(parts)
    assert merged["attacks"][0]["targeted"] == whole["attacks"][0]["targeted"] == targeted(3, 2, 3)
    assert merged["attacks"][0]["verdicts"] == whole["attacks"][0]["verdicts"]
    assert "class 3 is reached for 66.67% [20.77%, 93.85%] of 3 images" in " ".join(read_evaluation(merged).notes)


def test_an_attack_at_a_class_that_all_images_are_of_has_no_rate() -> None:
    x, y = images()
    row = run(PGD(eps=0.1, target=3), x[3:4].repeat(2, 1, 1, 1), y[3:4].repeat(2))
    assert row["attacks"][0]["targeted"] == {"class": 3, "images": 0, "reached": 0}
    assert row["attacks"][0]["robust_accuracy"] == 1.0


def test_a_class_that_the_network_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"target must be in \[0, 4\), the model's classes; got 4"):
        run(PGD(eps=0.1, target=4), *images())
