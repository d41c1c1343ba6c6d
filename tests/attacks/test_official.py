"""Every search gives, image for image, the verdict of the official AutoAttack code.

Small budgets on many images, which are then close calls that a wrong step or draw would decide otherwise; and longer
ones on few. benchmarks/autoattack_official.py has the full ones.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from advdpnp.attacks.apgd import APGDCE, APGDDLR, APGDT
from advdpnp.attacks.fab import FABT
from advdpnp.attacks.square import Square
from attacks import robust
from reference.batch_generator import BatchGeneratorNoise
from reference.official_autoattack import official_each, same

Budgets = list[tuple[Any, dict[str, int]]]

BUDGETS: Budgets = [
    (APGDCE, {"steps": 10, "restarts": 2}),
    (APGDDLR, {"steps": 20}),
    (APGDT, {"steps": 10, "targets": 3}),
    (FABT, {"steps": 5, "targets": 3, "restarts": 2}),
    (Square, {"steps": 100}),
]

LONGER: Budgets = [(APGDCE, {"steps": 20}), (APGDT, {"steps": 20}), (FABT, {"steps": 20}), (Square, {"steps": 300})]
# A step on real images takes 30 times as long: not every target. Square's very points are compared in test_square.py.
LONGER_REAL: Budgets = [
    (APGDCE, {"steps": 20}),
    (APGDT, {"steps": 20, "targets": 3}),
    (FABT, {"steps": 20, "targets": 3}),
]


def searches(eps: dict[str, float], budgets: Budgets) -> list[Any]:
    return [search(norm=norm, eps=radius, **fields) for norm, radius in eps.items() for search, fields in budgets]


def right(subject: robust.AttackTarget, x: Tensor) -> Tensor:
    with torch.no_grad():
        return subject[0](x).argmax(dim=1) == subject[2]


def verdicts(subject: robust.AttackTarget, attacks: list[Any], seed: int = 0) -> list[Tensor]:
    """(B,) bool for each attack, True where the image withstands."""
    model, x, y = subject
    return [right(subject, attack(model, x, y, noise=BatchGeneratorNoise(seed, len(x)))) for attack in attacks]


def assert_official(float32: robust.AttackTarget, attacks: list[Any]) -> None:
    subject = robust.exact(float32)
    theirs = [verdict for verdict, _ in official_each(*subject, [same(attack) for attack in attacks])]
    differing = {
        str(attack): (a != b).nonzero().squeeze(1).tolist()
        for attack, a, b in zip(attacks, verdicts(subject, attacks), theirs)
    }
    assert differing == {str(attack): [] for attack in attacks}
    # Else equality would say little.
    clean = int(right(subject, subject[1]).sum())
    assert all(0 < int(verdict.sum()) < clean for verdict in theirs)


def test_every_verdict_on_digits_is_the_official_one() -> None:
    assert_official(robust.digits(160), searches(robust.EPS["digits"], BUDGETS))


def test_every_verdict_in_l1_on_digits_is_the_official_one() -> None:
    # APGD in l1 is in test_apgd, with its phases.
    attacks = [FABT(norm="l1", eps=1.5, steps=5, targets=3, restarts=2), Square(norm="l1", eps=2.0, steps=100)]
    assert_official(robust.digits(100), attacks)


@pytest.mark.parametrize("classes, eps", [(2, {"linf": 0.3, "l2": 1.5}), (3, {"linf": 0.2, "l2": 1.0})])
def test_every_verdict_on_digits_of_few_classes_is_the_official_one(classes: int, eps: dict[str, float]) -> None:
    budgets: Budgets = [(APGDCE, {"steps": 10}), (FABT, {"steps": 5, "targets": classes - 1}), (Square, {"steps": 100})]
    assert_official(robust.digits(100, classes), searches(eps, budgets))


def test_every_verdict_of_longer_searches_on_digits_is_the_official_one() -> None:
    assert_official(robust.digits(32), searches(robust.EPS["digits"], LONGER))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_every_verdict_of_longer_searches_on_real_images_is_the_official_one(name: str, real_data: Path) -> None:
    assert_official(robust.REAL[name](real_data, 32), searches(robust.EPS[name], LONGER_REAL))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name, images", [("cifar100", 120)])
def test_every_verdict_on_real_images_is_the_official_one(name: str, images: int, real_data: Path) -> None:
    assert_official(robust.REAL[name](real_data, images), searches(robust.EPS[name], BUDGETS))


def test_other_draws_decide_some_images_otherwise() -> None:
    subject, attacks = robust.digits(160), searches({"l2": 0.5}, BUDGETS)
    pairs = zip(verdicts(subject, attacks), verdicts(subject, attacks, seed=1))
    assert sum(int((a != b).sum()) for a, b in pairs) > 3
