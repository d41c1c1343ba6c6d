"""FAB-T: nearest images in closed form, the official code's verdicts, and rows that keep to themselves."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from pyautoattack.fab_pt import FABAttack_PT
from torch import Tensor, nn

from advdpnp.attacks.fab import FABT
from advdpnp.attacks.stepwise import AttackState, ChunkedModel, ranked_targets
from advdpnp.noise import IndexNoise
from advdpnp.threat import Norm, distance
from attacks.linear import LinearClassifier
from attacks.robust import AttackTarget, digits, exact
from reference.batch_generator import BatchGeneratorNoise
from reference.hyperplane import displacement
from reference.official_autoattack import NORMS, official

ATTACKS = [FABT(eps=0.1), FABT(eps=0.5, norm="l2"), FABT(eps=1.2, norm="l1")]
IDS = ["linf", "l2", "l1"]
ORDERS = {"linf": float("inf"), "l2": 2, "l1": 1}


class Rowwise(nn.Module):
    """Two layers without matrix products, whose rounding may depend on the number of rows."""

    def __init__(self, classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.eval()
        generator = torch.Generator().manual_seed(classes)
        self.first = nn.Parameter(torch.randn(8, 48, generator=generator))
        self.last = nn.Parameter(scale * torch.randn(classes, 8, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh((x.flatten(1)[:, None] * self.first).sum(dim=2))
        return (hidden[:, None] * self.last).sum(dim=2)


def images(n: int = 6) -> Tensor:
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def labels(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(dim=1)


def nearest(model: LinearClassifier, x: Tensor, y: int, norm: str) -> float:
    """Distance of the nearest image of another class."""
    weight, bias, z = model.weight.detach().numpy(), model.bias.detach().numpy(), x.flatten().numpy()
    others = [k for k in range(len(weight)) if k != y]
    ways = [displacement(z, weight[k] - weight[y], bias[y] - bias[k], norm) for k in others]
    return min(np.linalg.norm(way, ORDERS[norm]) for way in ways)


def after(attack: FABT, model: nn.Module, x: Tensor, index: Tensor, steps: int, attempt: int = 0) -> AttackState:
    noise = IndexNoise(0, index)
    y = labels(model, x)
    target = ranked_targets(model(x).detach(), y)[:, attack.target_rank(attempt)]
    state = attack.init(x, y, target, attempt, noise)
    for _ in range(steps):
        attack.step(ChunkedModel(model), state, noise)
    return state


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_nearest_image_of_a_linear_model_is_found_to_within_two_percent(norm: str, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    weight = torch.randn(classes, 48, generator=generator, dtype=torch.float64)
    x = images(4).double()
    model = LinearClassifier(weight, -weight.sum(dim=1) / 2).eval()
    y = labels(model, x)
    for image, own in zip(x.split(1), y.split(1), strict=True):
        least = nearest(model, image, own.item(), norm)
        for factor, broken in ((1.02, True), (0.999, False)):
            found = FABT(eps=least * factor, norm=norm, steps=10)(model, image, own)
            assert bool((labels(model, found) != own).item()) is broken


@pytest.mark.parametrize("norm, eps", [("linf", 0.08), ("l2", 0.6)])
def test_verdicts_equal_the_official_ones_on_digits(norm: str, eps: float) -> None:
    attack = FABT(eps=eps, norm=norm, steps=10, restarts=2, targets=3)
    check_against_the_official_code(attack, exact(digits(60)))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_nearest_images_found_are_the_official_ones(norm: str) -> None:
    model, x, y = exact(digits(60))
    right = labels(model, x) == y
    x, y, noise = x[right], y[right], IndexNoise(0, torch.arange(int(right.sum())))
    there = FABAttack_PT(model, norm=NORMS[norm], n_iter=5, device="cpu")
    there.target_class = 2
    expected = there.attack_single_run(x, y, is_targeted=True)
    attack, best, least = FABT(norm=norm), x.clone(), torch.full((len(x),), torch.inf)
    state = attack.init(x, y, ranked_targets(model(x).detach(), y)[:, 0], 0, noise)
    for _ in range(5):
        seen = attack.step(ChunkedModel(model), state, noise)
        size = distance(seen.points, x, norm)
        nearer = (seen.logits.argmax(dim=1) != y) & (size < least)
        best[nearer], least[nearer] = seen.points[nearer], size[nearer]
    assert not torch.equal(expected, x)
    torch.testing.assert_close(best, expected, rtol=0, atol=1e-4)


def check_against_the_official_code(attack: FABT, subject: AttackTarget) -> None:
    model, x, y = subject
    budget = {"n_iter": attack.steps, "n_restarts": attack.restarts, "n_target_classes": attack.targets}
    robust, _ = official(model, x, y, "fab-t", attack.norm, attack.eps, **budget)
    found = attack(model, x, y, noise=BatchGeneratorNoise(0, len(x)))
    assert torch.equal(labels(model, found) == y, robust)
    assert 0 < robust.sum() < len(x)


@pytest.mark.parametrize("attempt", [0, 1])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_rows_do_not_depend_on_the_number_or_the_age_of_their_neighbors(norm: str, attempt: int) -> None:
    attack, model, x = FABT(norm=norm, restarts=2), Rowwise(4), images()
    index = torch.arange(6)
    old, young = after(attack, model, x, index, 5, attempt), after(attack, model, x, index, 2, attempt)
    old.put(torch.tensor([0, 3]), young.take(torch.tensor([0, 3])))
    for _ in range(3):
        attack.step(ChunkedModel(model), old, IndexNoise(0, index))
    assert old.age.tolist() == [5, 8, 8, 5, 8, 8]
    for i, age in enumerate(old.age.tolist()):
        alone = after(attack, model, x[i : i + 1], index[i : i + 1], age, attempt)
        for field in fields(alone):
            assert torch.equal(getattr(alone, field.name)[0], getattr(old, field.name)[i])


@pytest.mark.parametrize("classes, attempts", [(2, 2), (3, 4), (100, 18)])
def test_each_rival_is_aimed_at_with_all_restarts_before_the_next(classes: int, attempts: int) -> None:
    attack = FABT(restarts=2)
    assert attack.attempts(classes) == attempts
    assert [attack.target_rank(attempt) for attempt in range(attempts)] == [attempt // 2 for attempt in range(attempts)]


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
@pytest.mark.parametrize("classes", [2, 3, 100])
def test_images_found_are_in_the_ball_and_misclassified_and_the_rest_is_untouched(attack: FABT, classes: int) -> None:
    model, x = Rowwise(classes), images(20)
    y = labels(model, x)
    found = attack(model, x, y)
    broken = labels(model, found) != y
    assert broken.any()
    assert (distance(found, x, attack.norm) <= attack.eps * (1 + 1e-5)).all()
    assert found.min() >= 0 and found.max() <= 1
    assert torch.equal(found[~broken], x[~broken])


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_the_scale_of_the_logits_does_not_matter(attack: FABT) -> None:
    x = images(20)
    y = labels(Rowwise(3), x)
    plain, loud = (attack(Rowwise(3, scale), x, y) for scale in (1.0, 1024.0))
    assert not torch.equal(plain, x)
    torch.testing.assert_close(loud, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_without_a_gradient_the_point_stays_where_it_is(attack: FABT) -> None:
    def constant(x: Tensor) -> Tensor:
        return x.flatten(1).sum(dim=1, keepdim=True) * 0 + torch.tensor([1.0, 0.0])

    x = images()
    state = attack.init(x, torch.zeros(6).long(), torch.ones(6).long(), 0, IndexNoise(0, torch.arange(6)))
    seen = attack.step(ChunkedModel(constant), state, IndexNoise(0, torch.arange(6)))
    torch.testing.assert_close(seen.points, x, rtol=0, atol=1e-6)
    assert torch.equal(attack(constant, x, torch.zeros(6).long()), x)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_restarts_begin_at_half_the_radius_and_the_first_attempt_at_the_image(norm: Norm) -> None:
    attack, x = FABT(eps=0.1, norm=norm, restarts=3), torch.full((5, 3, 4, 4), 0.5)
    y, noise = torch.zeros(5).long(), IndexNoise(0, torch.arange(5))
    starts = [attack.init(x, y, y, attempt, noise).point for attempt in range(6)]
    assert torch.equal(starts[0], x) and torch.equal(starts[3], x)
    for start in (starts[1], starts[2], starts[4]):
        torch.testing.assert_close(distance(start, x, norm), torch.full((5,), 0.05))
    assert not torch.equal(starts[1], starts[2]) and not torch.equal(starts[1], starts[4])


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"norm": "l0"}, "norm must be"),
        ({"eps": 8}, "Did you mean"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"targets": 0}, "targets must be at least 1"),
        ({"beta": 0.0}, "beta must be in"),
        ({"eta": 0.5}, "eta must be at least 1"),
        ({"alpha_max": 2.0}, "alpha_max must be"),
    ],
)
def test_fields_that_make_no_sense_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FABT(**wrong)
