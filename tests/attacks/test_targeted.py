"""Attacks at a class of one's choice, on linear models in float64, where the best perturbation is known."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from advdpnp.attacks import (
    APGDCE,
    APGDDLR,
    APGDT,
    BIM,
    FABT,
    FGSM,
    MIFGSM,
    PGD,
    Attack,
    AutoAttack,
    CarliniWagner,
    DeepFool,
    Square,
)
from advdpnp.attacks.apgd import aimed_dlr
from advdpnp.attacks.pgd import clipped_target_margin
from advdpnp.attacks.projected_ascent import likelihood
from advdpnp.losses import is_right
from advdpnp.threat import distance
from attacks.linear import LinearClassifier

AIMING: list[Any] = [FGSM, PGD, CarliniWagner, APGDCE, APGDDLR, APGDT, FABT, Square, BIM, MIFGSM, DeepFool]
EACH = pytest.mark.parametrize("kind", AIMING, ids=[kind.name for kind in AIMING])


def diagonal(classes: int = 5) -> LinearClassifier:
    """Logits z_k = 10 x_k of as many pixels as classes."""
    weight = 10 * torch.eye(classes, dtype=torch.float64)
    return LinearClassifier(weight, torch.zeros(classes, dtype=torch.float64)).eval()


def image(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


@EACH
def test_the_target_is_reached_and_not_the_nearer_class(kind: Any) -> None:
    # Class 0 leads class 1 by 0.04 and class 3 by 0.1: within 0.06 of each pixel both can be reached.
    x, y = image(0.5, 0.46, 0.3, 0.4, 0.2), torch.tensor([0])
    found = kind(eps=0.06, target=3)(diagonal(), x, y)
    assert diagonal()(found).argmax(dim=1).item() == 3
    assert distance(found, x, "linf").item() <= 0.06 + 1e-6


@EACH
def test_a_target_out_of_reach_is_not_reached(kind: Any) -> None:
    # Half of the lead over class 3 is 0.05, and 0.049 is less: no point of the ball is class 3.
    x, y = image(0.5, 0.46, 0.3, 0.4, 0.2), torch.tensor([0])
    found = kind(eps=0.049, target=3)(diagonal(), x, y)
    assert diagonal()(found).argmax(dim=1).item() != 3


@EACH
def test_images_of_the_target_stay_as_they_are(kind: Any) -> None:
    x, y = image(0.5, 0.46, 0.3, 0.4, 0.2), torch.tensor([3])
    # Also where the network is wrong: there is nothing to win.
    assert torch.equal(kind(eps=0.06, target=3)(diagonal(), x, y), x)


@EACH
def test_a_class_for_each_image_is_what_one_attack_for_each_class_finds(kind: Any) -> None:
    x = torch.rand(6, 1, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, target = diagonal()(x).argmax(dim=1), torch.tensor([0, 1, 2, 3, 4, 1])
    attack = kind(eps=0.3)
    together = attack(diagonal(), x, y, target=target)
    for each in range(5):
        alone = replace(attack, target=each)(diagonal(), x, y)
        assert torch.equal(alone[target == each], together[target == each])


def test_the_fast_gradient_step_at_a_target_is_the_closed_form() -> None:
    # d/dx log softmax(Wx)_t = w_t - sum_k p_k w_k; with w = 10 times the unit vectors it is positive at t alone.
    x, y = image(0.5, 0.46, 0.3, 0.4, 0.2), torch.tensor([0])
    expected = x + 0.06 * image(-1.0, -1.0, -1.0, 1.0, -1.0)
    torch.testing.assert_close(FGSM(eps=0.06, target=3)(diagonal(), x, y), expected)
    # In l2 the step goes along that gradient: e_t - p.
    p = torch.softmax(10 * x.flatten(), dim=0)
    step = torch.eye(5, dtype=torch.float64)[3] - p
    expected = x + 0.1 * (step / step.norm()).view_as(x)
    torch.testing.assert_close(FGSM(eps=0.1, norm="l2", target=3)(diagonal(), x, y), expected)


def test_losses_at_a_target_by_hand() -> None:
    z, t = torch.tensor([[3.0, 1.0, 2.0, 0.5, 0.0]], dtype=torch.float64), torch.tensor([2])
    log_sum = torch.tensor([3.0, 1.0, 2.0, 0.5, 0.0], dtype=torch.float64).exp().sum().log()
    torch.testing.assert_close(likelihood(z, (t,), ()), 2.0 - log_sum.view(1))
    # Class 0 leads class 2 by 1. f_6 of Carlini and Wagner is max(3 - 2, -kappa).
    kappa = torch.tensor(0.5, dtype=torch.float64)
    assert clipped_target_margin(z, (t, kappa), ()).item() == -1.5
    assert clipped_target_margin(z, (torch.tensor([0]), kappa), ()).item() == 0.0
    # -1 over 3 - (1 + 0.5) / 2 = 2.25; the answer itself leads by 1.
    assert aimed_dlr(z, t).item() == pytest.approx(-1 / 2.25)
    assert aimed_dlr(z, torch.tensor([0])).item() == pytest.approx(1 / 2.25)
    assert aimed_dlr(z[:, :3], t).item() == -1.0


@pytest.mark.parametrize("kind", [PGD, CarliniWagner])
def test_of_several_restarts_the_one_with_the_widest_margin_of_the_target_is_kept(kind: Any) -> None:
    x, y = image(0.5, 0.46, 0.3, 0.4, 0.2), torch.tensor([0])
    attack = kind(eps=0.06, steps=1, step_size=0.03, restarts=6, random_start=True, target=3)
    leads = []
    for restarts in range(1, 7):
        z = diagonal()(replace(attack, restarts=restarts)(diagonal(), x, y))
        leads.append((z[0, 3] - z[0, [0, 1, 2, 4]].max()).item())
    assert leads == sorted(leads) and leads[-1] > leads[0]


@pytest.mark.parametrize("norm, least", [("linf", 0.05), ("l2", 0.1 / 2**0.5)])
def test_the_boundary_attack_finds_the_nearest_image_of_the_target(norm: Any, least: float) -> None:
    # Class 3 takes over class 0 in the middle between their pixels, which is 0.05 from both; class 1 is below it there.
    x, y = image(0.5, 0.35, 0.3, 0.4, 0.2), torch.tensor([0])
    found = FABT(eps=1.0, norm=norm, target=3, eta=1.001)(diagonal(), x, y)
    assert least <= distance(found, x, norm).item() < 1.01 * least


def test_two_classes_are_one_target() -> None:
    model = LinearClassifier(torch.tensor([[0.0], [4.0]], dtype=torch.float64), torch.tensor([0.0, -2.0]).double())
    x, y = torch.tensor([0.4, 0.6], dtype=torch.float64).view(2, 1, 1, 1), torch.tensor([0, 1])
    for kind in AIMING:
        # Square in this one-pixel image has only the two ends of the ball.
        found = kind(eps=0.15, target=1)(model.eval(), x, y)
        assert is_right(model(found), torch.tensor([1, 1])).all() and torch.equal(found[1], x[1])


@pytest.mark.parametrize(
    "attack, how, message",
    [
        (PGD(target=5), {}, r"targets must be in \[0, 5\), the model's classes; got 5 to 5"),
        (PGD(), {"target": torch.tensor([-1])}, r"targets must be in \[0, 5\), the model's classes; got -1 to -1"),
        (PGD(), {"target": torch.tensor([1, 2])}, r"targets must be \(1,\) int64, one for each image; got \(2,\)"),
        (
            PGD(),
            {"target": 3},
            r"target in a call must be \(1,\) int64, a class for each image; got 3.*PGD\(target=3\)",
        ),
        (PGD(target=1), {"target": torch.tensor([1])}, "pgd aims at class 1 already"),
        (AutoAttack(), {"target": torch.tensor([1])}, "autoattack aims at no class: leave target out"),
    ],
)
def test_targets_that_make_no_sense(attack: Attack, how: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(diagonal(), image(0.5, 0.4, 0.3, 0.2, 0.1), torch.tensor([0]), **how)


def test_a_field_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="target must be at least 0, or none; got -1"):
        PGD(target=-1)
