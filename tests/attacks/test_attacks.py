"""Laws that every attack obeys."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import (
    APGDCE,
    APGDDLR,
    APGDT,
    BIM,
    FABT,
    FGSM,
    MIFGSM,
    PGD,
    SLIDE,
    Attack,
    CarliniWagner,
    CarliniWagnerL2,
    DeepFool,
    Square,
    record,
)
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.losses import margin
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel
from attacks.linear import LinearClassifier, two_classes
from reference import attacks as reference

ATTACKS: list[Attack] = [
    FGSM(eps=0.1),
    FGSM(eps=0.5, norm="l2"),
    PGD(eps=0.1),
    PGD(eps=0.5, norm="l2"),
    PGD(eps=0.1, restarts=3),
    CarliniWagner(eps=0.1),
    CarliniWagner(eps=0.5, norm="l2"),
    APGDCE(eps=0.1, steps=20, restarts=2),
    APGDCE(eps=1.0, norm="l1", steps=20),
    APGDDLR(eps=0.5, norm="l2", steps=20),
    APGDT(eps=0.1, steps=20),
    FABT(eps=0.1, steps=10),
    FABT(eps=0.5, norm="l2", steps=10, restarts=2),
    Square(eps=0.1, steps=50),
    Square(eps=0.5, norm="l2", steps=50),
    BIM(eps=0.1),
    BIM(eps=0.5, norm="l2"),
    MIFGSM(eps=0.1),
    MIFGSM(eps=0.5, norm="l2"),
    CarliniWagnerL2(eps=0.5, steps=30, bisections=4, learning_rate=0.05, first_weight=0.1),
    DeepFool(eps=0.1),
    DeepFool(eps=0.5, norm="l2"),
    FGSM(eps=1.5, norm="l1"),
    PGD(eps=1.5, norm="l1", restarts=2, steps=20),
    PGD(eps=1.5, norm="l1", ascent="dense", steps=20),
    PGD(eps=1.5, norm="l1", ascent="rescaled", steps=20),
    CarliniWagner(eps=1.5, norm="l1"),
    SLIDE(eps=1.5, quantile=0.8, steps=20),
    FABT(eps=1.5, norm="l1", steps=10, restarts=2),
    Square(eps=1.5, norm="l1", steps=50),
]
ORDERS = {"linf": float("inf"), "l2": 2, "l1": 1}
IDS = [f"{a.name}-{a.norm}-{i}" for i, a in enumerate(ATTACKS)]


def images(n: int = 6, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 4, 4, generator=generator, dtype=torch.float64), torch.arange(n) % 3


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    layers[1].running_mean = torch.randn(4).double()
    return layers.double().eval()


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_adversarial_images_are_in_the_ball_and_in_the_box(attack: Attack) -> None:
    x, y = images()
    delta = attack(network(), x, y) - x
    sizes = torch.linalg.vector_norm(delta.flatten(1), ord=ORDERS[attack.norm], dim=1)
    assert (sizes <= attack.eps * (1 + 1e-5) + 1e-9).all()
    assert (x + delta).min() >= 0 and (x + delta).max() <= 1 + 1e-12


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_an_attack_leaves_the_network_as_it_was(attack: Attack) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attack(model, *images())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_attacks_are_equivariant_to_permutations_of_the_batch(attack: Attack) -> None:
    x, y = images()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    straight = attack(network(), x, y, noise=IndexNoise(0, torch.arange(6)))
    shuffled = attack(network(), x[order], y[order], noise=IndexNoise(0, order))
    torch.testing.assert_close(shuffled, straight[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "attack",
    [
        FGSM(eps=0.0),
        PGD(eps=0.0, step_size=0.1),
        CarliniWagner(eps=0.0, step_size=0.1),
        BIM(eps=0.0, step_size=0.1),
        MIFGSM(eps=0.0, step_size=0.1),
        CarliniWagnerL2(eps=0.0, steps=20, bisections=2, learning_rate=0.1),
        DeepFool(eps=0.0),
        PGD(eps=0.0, norm="l1", step_size=0.1),
        PGD(eps=0.0, norm="l1", step_size=0.1, ascent="dense"),
        PGD(eps=0.0, norm="l1", step_size=0.1, ascent="rescaled"),
        SLIDE(eps=0.0, step_size=0.1),
    ],
)
def test_eps_zero_returns_the_images(attack: Attack) -> None:
    x, y = images()
    assert torch.equal(attack(network(), x, y), x)


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), PGD(eps=0.1), CarliniWagner(eps=0.1), BIM(eps=0.1), MIFGSM(eps=0.1)])
def test_linf_attacks_on_a_linear_model_reach_the_corner(attack: Attack) -> None:
    model = two_classes(16)
    x = 0.3 + 0.4 * images()[0]
    y = model(x).argmax(dim=1)
    w = (model.weight[1] - model.weight[0]).detach()
    direction = torch.where(y == 1, -1.0, 1.0).double()
    corner = x + 0.1 * direction.view(-1, 1, 1, 1) * w.sign().view(1, 1, 4, 4)
    torch.testing.assert_close(attack(model, x, y), corner, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "attack",
    [
        FGSM(eps=0.2, norm="l2"),
        PGD(eps=0.2, norm="l2", step_size=0.2),
        CarliniWagner(eps=0.2, norm="l2", step_size=0.2),
        BIM(eps=0.2, norm="l2"),
        MIFGSM(eps=0.2, norm="l2"),
    ],
)
def test_l2_attacks_on_a_linear_model_go_along_the_weight(attack: Attack) -> None:
    model = two_classes(16)
    x = 0.3 + 0.4 * images()[0]
    y = model(x).argmax(dim=1)
    w = (model.weight[1] - model.weight[0]).detach()
    direction = torch.where(y == 1, -1.0, 1.0).double()
    best = x + 0.2 * direction.view(-1, 1, 1, 1) * (w / w.norm()).view(1, 1, 4, 4)
    torch.testing.assert_close(attack(model, x, y), best, rtol=0, atol=1e-6)


def test_a_linear_model_is_robust_exactly_where_the_margin_beats_the_dual_norm() -> None:
    model = two_classes(16)
    x = 0.3 + 0.4 * images(200)[0]
    logits = model(x)
    y = logits.argmax(dim=1)
    w = (model.weight[1] - model.weight[0]).detach()
    for norm, dual, eps in (("linf", w.abs().sum(), 0.1), ("l2", w.norm(), 0.2), ("l1", w.abs().max(), 0.3)):
        robust = margin(model(PGD(eps=eps, norm=norm, step_size=eps)(model, x, y)), y) < 0
        expected = (logits[:, 1] - logits[:, 0]).abs() > eps * dual
        assert torch.equal(robust, expected)


@pytest.mark.parametrize("norm, eps, step", [("linf", 0.1, 0.03), ("l2", 0.4, 0.1)])
def test_pgd_equals_the_slow_reference_step_by_step(norm: str, eps: float, step: float) -> None:
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(3, 16, generator=generator, dtype=torch.float64)
    model = LinearClassifier(weight, torch.randn(3, generator=generator, dtype=torch.float64))
    x, y = images()
    budget = Budget(ThreatModel(norm, eps), 7, step, "uniform")
    noise = IndexNoise(0, torch.arange(len(x)))
    found = ascend(model, cross_entropy, x, (y,), budget=budget, noise=noise)
    start = budget.begin(x, noise).flatten(1).numpy()
    gradient = reference.linear_cross_entropy_gradient(weight.numpy(), model.bias.detach().numpy())
    expected = reference.pgd(gradient, x.flatten(1).numpy(), y.numpy(), norm, eps, step, 7, start)
    np.testing.assert_allclose(found.flatten(1).numpy(), expected, rtol=0, atol=1e-9)


def test_more_restarts_are_never_weaker() -> None:
    x, y = images(40)
    model = network()
    margins = [margin(model(PGD(eps=0.2, restarts=r)(model, x, y)), y) for r in (1, 2, 4)]
    assert (margins[1] >= margins[0]).all() and (margins[2] >= margins[1]).all()
    assert (margins[2] > margins[0]).any()


def test_cw_stops_once_the_rival_leads_by_kappa() -> None:
    model = two_classes(16)
    x = 0.3 + 0.4 * images()[0]
    y = model(x).argmax(dim=1)
    far = margin(model(CarliniWagner(eps=0.3, steps=50, step_size=0.01, kappa=50)(model, x, y)), y)
    near = margin(model(CarliniWagner(eps=0.3, steps=50, step_size=0.01, kappa=0.5)(model, x, y)), y)
    step = 0.01 * model.weight[1].abs().sum().item()
    assert (near < 0.5 + step).all() and (near > 0).all() and (far >= near).all()


def test_records_have_budgets_as_text() -> None:
    assert record(PGD()) == {
        "name": "pgd",
        "norm": "linf",
        "eps": "8/255",
        "steps": 20,
        "step_size": "1/255",
        "restarts": 1,
        "random_start": True,
    }
    assert record(PGD(eps=128 / 255, norm="l2"))["step_size"] == "16/255"
    assert record(CarliniWagner())["step_size"] == "0.8/255"
    # Kurakin et al. 2017: 10 steps of 1 at eps 8, in 255ths; Dong et al. 2018: 10 steps of a tenth of eps.
    assert (record(BIM())["step_size"], BIM().steps) == ("1/255", 10)
    assert (record(MIFGSM())["step_size"], MIFGSM().steps, MIFGSM().decay) == ("0.8/255", 10, 1.0)


@pytest.mark.parametrize(
    "x, y, message",
    [
        (torch.rand(2, 1, 4, 4) * 255, torch.tensor([0, 1]), r"images must be in \[0, 1\].*Divide bytes by 255"),
        (torch.full((2, 1, 4, 4), float("nan")), torch.tensor([0, 1]), r"images must be in \[0, 1\]"),
        (torch.rand(2, 16), torch.tensor([0, 1]), r"images must be \(B, channels, H, W\)"),
        (torch.rand(2, 1, 4, 4), torch.tensor([0, 7]), r"labels must be in \[0, 3\)"),
        (torch.rand(2, 1, 4, 4), torch.tensor([0, -1]), r"labels must be in \[0, 3\)"),
        (torch.rand(2, 1, 4, 4), torch.tensor([0]), r"labels must be \(2,\) int64"),
        (torch.rand(2, 1, 4, 4), torch.tensor([0.0, 1.0]), r"labels must be \(2,\) int64"),
    ],
)
def test_bad_input_is_refused_with_a_cure(x: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PGD(eps=0.1)(network().float(), x, y)


def test_bad_budgets_and_training_mode_are_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 8 / 255"):
        PGD(eps=8)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        PGD(steps=0, step_size=0.1)
    with pytest.raises(ValueError, match="random_start=True"):
        PGD(restarts=2, random_start=False)
    with pytest.raises(ValueError, match="kappa"):
        CarliniWagner(kappa=-1)
    with pytest.raises(ValueError, match="training mode"):
        PGD(eps=0.1)(network().train(), *images())
