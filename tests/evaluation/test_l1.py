"""Evaluation in l1: searches of independent rows that merge and resume, and what is said of weak attacks."""

from pathlib import Path
from typing import Any

import pytest
import torch

import advdpnp
from advdpnp.attacks import APGDCE, APGDT, FABT, FGSM, PGD, SLIDE, AutoAttack, Square, Suite
from advdpnp.attacks.stepwise import StepwiseAttack
from advdpnp.evaluation import merge_shards
from advdpnp.evaluation.weak_in_l1 import WARNING, only_weak_in_l1
from evaluation.test_batching import Stop, run, subject, verdicts
from external.networks import digits, trained

L1: dict[str, Any] = {"eps": 1.5, "norm": "l1"}


class Short(AutoAttack):
    """AutoAttack's searches in l1 with small budgets."""

    name = "short"

    @property
    def attacks_to_run(self) -> tuple[StepwiseAttack[Any], ...]:
        return (
            APGDCE(**L1, steps=4, restarts=2, multi_eps=True),
            APGDT(**L1, steps=4, targets=2, multi_eps=True),
            FABT(**L1, steps=4, targets=2),
            Square(**L1, steps=10),
        )


HOW: dict[str, Any] = {"suite": Suite("short", "", (Short(**L1),), features=None), "n": 16}


def test_parts_interruptions_and_rows_in_flight_change_no_verdict(tmp_path: Path) -> None:
    model, images = subject()
    whole = run(model, images, **HOW)
    found = verdicts(whole)
    assert 0 < found[-1].sum() < found[1].sum() < found[0].sum()
    shards = [run(model, images, **HOW, shard=(k, 2)) for k in (1, 2)]
    assert torch.equal(verdicts(merge_shards(shards)), found)
    assert torch.equal(verdicts(run(model, images, **HOW, batch_size=16)), found)
    partial = tmp_path / "some.json"
    with pytest.raises(KeyboardInterrupt):
        run(model, images, Stop(5), **HOW, partial=partial)
    assert torch.equal(verdicts(run(model, images, **HOW, partial=partial, resume=True)), found)


@pytest.mark.parametrize(
    "attacks, weak",
    [
        ([PGD(**L1)], True),
        ([PGD(**L1, ascent="dense"), FGSM(**L1)], True),
        ([PGD(**L1), SLIDE(eps=1.5)], False),
        ([PGD(**L1), APGDCE(**L1)], False),
        ([AutoAttack(**L1)], False),
        ([PGD(**L1), APGDCE(eps=0.1)], True),
        ([PGD(eps=0.1)], False),
    ],
)
def test_an_accuracy_under_weak_attacks_alone_is_told_apart(attacks: list[Any], weak: bool) -> None:
    assert only_weak_in_l1(attacks) == weak


def test_a_result_in_l1_warns_of_weak_attacks_and_its_suites_have_strong_ones() -> None:
    x, y = digits().batch(torch.arange(16))
    weak = advdpnp.evaluate(trained(), x, y, suite=["pgd:steps=2"], norm="l1", eps=1.0)
    assert weak["warnings"] == [WARNING] and "\n" not in WARNING
    strong = advdpnp.evaluate(trained(), x, y, suite=["pgd:steps=2", "slide:steps=2"], norm="l1", eps=1.0)
    assert not strong.get("warnings")
