"""AutoAttack as a whole: which attacks, on which images, and what it says of itself."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from advdpnp.attacks import ATTACKS, PGD, AutoAttack, QuickAutoAttack, Square, Suite, label, record
from advdpnp.attacks.stepwise import (
    AttackState,
    ChunkedModel,
    Queries,
    StepwiseAttack,
    attack_batch,
    stepwise_attacks,
)
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.metrics import unpack
from advdpnp.noise import IndexNoise, Noise
from advdpnp.threat import distance
from attacks import robust
from reference.batch_generator import BatchGeneratorNoise
from reference.official_autoattack import official


def right(subject: robust.AttackTarget, x: Tensor) -> Tensor:
    with torch.no_grad():
        return subject[0](x).argmax(dim=1) == subject[2]


def test_the_standard_attacks_have_the_authors_budgets() -> None:
    attacks: Any = AutoAttack(eps=0.1).attacks_to_run
    assert [attack.name for attack in attacks] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert [attack.steps for attack in attacks] == [100, 100, 100, 5000]
    assert [attack.attempts(10) for attack in attacks] == [1, 9, 9, 1]
    assert [attack.attempts(100) for attack in attacks] == [1, 9, 9, 1]
    assert [attack.attempts(5) for attack in attacks] == [1, 4, 4, 1]
    assert {(attack.eps, attack.norm) for attack in attacks} == {(0.1, "linf")}


def test_the_quick_tier_is_never_called_autoattack() -> None:
    quick = QuickAutoAttack(eps=8 / 255)
    assert label(record(quick)) == "autoattack-quick linf 8/255" != label(record(AutoAttack()))
    assert ATTACKS["autoattack-quick"] is QuickAutoAttack and ATTACKS["autoattack"] is AutoAttack


def test_a_stepwise_attack_runs_itself_and_pgd_runs_none() -> None:
    square = Square(eps=0.1)
    assert stepwise_attacks(square) == (square,)
    assert stepwise_attacks(PGD(eps=0.1)) == ()
    assert stepwise_attacks(AutoAttack(eps=0.1)) == AutoAttack(eps=0.1).attacks_to_run


@dataclass(frozen=True, kw_only=True)
class RandomPoints(StepwiseAttack[AttackState]):
    """An attack from outside: a random point of the linf ball in every iteration."""

    name: ClassVar[str] = "random-points"

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> AttackState:
        return AttackState(x, y, target, x, torch.zeros_like(y))

    def step(self, network: ChunkedModel, state: AttackState, noise: Noise) -> Queries:
        rows.append(len(state.x))
        draw = noise.at(state.age).uniform("point", tuple(state.x.shape[1:]))
        points = (state.x + self.eps * (2 * draw - 1)).clamp(0, 1)
        state.age += 1
        return Queries(points, network.logits(points))


rows: list[int] = []


def test_an_attack_from_outside_says_only_how_it_begins_and_steps() -> None:
    attack, (model, x, y) = RandomPoints(eps=0.5, steps=4), robust.digits(40)
    rows.clear()
    found = right((model, x, y), attack(model, x, y))
    assert stepwise_attacks(attack) == (attack,)
    images = Images((x * 16).round().to(torch.uint8), y, levels=16)
    suite = Suite("some", "", (attack,), None)
    result = evaluate(model, images, Evaluation(suite, 40, {}, search_chunk=8), Silent())
    assert torch.equal(unpack(result["attacks"][0]["verdicts"], 40), found)
    assert 0 < found.sum() < right((model, x, y), x).sum()


def test_a_broken_image_leaves_the_batch() -> None:
    model, x, y = robust.digits(40)
    rows.clear()
    RandomPoints(eps=0.5, steps=4)(model, x, y)
    withstood = [right((model, x, y), RandomPoints(eps=0.5, steps=n)(model, x, y)).sum().item() for n in (1, 2, 3)]
    assert rows[:4] == [right((model, x, y), x).sum().item(), *withstood]


def test_a_field_called_step_makes_no_stepwise_attack() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Stepping(PGD):
        step: int = 1

    assert stepwise_attacks(Stepping(eps=0.1)) == ()


def test_in_l1_both_apgd_have_phases_and_their_authors_restarts_and_targets() -> None:
    attacks: Any = AutoAttack(eps=5.0, norm="l1").attacks_to_run
    assert [(one.name, one.steps, one.attempts(10)) for one in attacks] == [
        ("apgd-ce", 100, 5), ("apgd-t", 100, 5), ("fab-t", 100, 9), ("square", 5000, 1)
    ]  # fmt: skip
    assert [one.multi_eps for one in attacks[:2]] == [True, True]
    assert all(one.multi_eps for one in QuickAutoAttack(eps=5.0, norm="l1").attacks_to_run[:2])  # type: ignore[attr-defined]
    assert {(one.eps, one.norm) for one in attacks} == {(5.0, "l1")}


@pytest.mark.parametrize("norm, eps", [("linf", 0.14), ("l2", 0.7), ("l1", 2.0)])
def test_what_comes_back_is_misclassified_within_the_ball_or_the_image_itself(norm: Any, eps: float) -> None:
    subject = robust.digits(60)
    model, x, y = subject
    x_adv = QuickAutoAttack(eps=eps, norm=norm)(model, x, y)
    changed = (x_adv != x).flatten(1).any(dim=1)
    assert torch.equal(right(subject, x) & ~right(subject, x_adv), changed)
    assert (distance(x_adv, x, norm) <= eps * (1 + 1e-5)).all() and 0 <= x_adv.min() <= x_adv.max() <= 1
    assert 0 < changed.sum() < right(subject, x).sum()


def test_each_attack_gets_only_the_images_that_are_still_right() -> None:
    subject = robust.digits(40)
    model, x, y = subject
    seen: list[int] = []

    class Counted(Square):
        def init(self, x: Tensor, *arguments: Any) -> Any:
            seen.append(len(x))
            return super().init(x, *arguments)

    noise = IndexNoise(0, torch.arange(40))
    withstood = right(subject, Square(eps=0.3, steps=20)(model, x, y, noise=noise))
    attack_batch((Counted(eps=0.3, steps=20), Counted(eps=0.3, steps=5)), model, x, y, noise)
    assert seen == [right(subject, x).sum(), withstood.sum()]
    assert seen[1] < seen[0]


@pytest.mark.slow
@pytest.mark.parametrize("norm, eps", [("linf", 0.12)])
def test_standard_autoattack_gives_the_official_verdict_on_every_image(norm: Any, eps: float) -> None:
    subject = robust.exact(robust.digits(16))
    model, x, y = subject
    theirs, _ = official(model, x, y, "standard", norm, eps)
    ours = right(subject, AutoAttack(eps=eps, norm=norm)(model, x, y, noise=BatchGeneratorNoise(0, len(x))))
    assert (ours != theirs).sum() == 0
    assert 0 < ours.sum() < right(subject, x).sum()
