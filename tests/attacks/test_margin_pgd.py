"""PGD on margins: the margins, the step, and what is known in closed form."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from advdpnp.attacks import MarginPGD
from advdpnp.attacks.attack import is_scale_free
from advdpnp.attacks.stepwise import ChunkedModel, targets
from advdpnp.losses import is_right
from advdpnp.noise import IndexNoise
from advdpnp.threat import Norm, distance
from attacks.linear import LinearClassifier, two_classes

LOGITS = torch.tensor([[1.0, 3.0, -2.0, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize("target, logits, probabilities", [(1, 2.0, (1, 0)), (0, 2.0, (1, 0)), (2, -3.0, (2, 0))])
def test_the_margins_are_those_of_the_papers(target: int, logits: float, probabilities: tuple[int, int]) -> None:
    # Label 0, towards any other class (target = label), the likeliest, or class 2: by hand, z_1 - z_0 = 2 and
    # z_2 - z_0 = -3; and e^z over their sum.
    y = torch.tensor([0])
    e = [math.exp(z) for z in LOGITS[0].tolist()]
    rival, own = probabilities
    assert MarginPGD()._margin(LOGITS, y, torch.tensor([target])).item() == logits
    found = MarginPGD(loss="probabilities")._margin(LOGITS, y, torch.tensor([target])).item()
    assert found == pytest.approx((e[rival] - e[own]) / sum(e), rel=1e-12)


def test_a_target_of_ones_choice_must_pass_every_other_class() -> None:
    y, target = torch.tensor([0]), torch.tensor([3])
    assert MarginPGD(target=3)._margin(LOGITS, y, target).item() == -2.5


def test_the_first_attempts_aim_at_any_class_and_the_others_at_each() -> None:
    attack, y, ranked = MarginPGD(restarts=2, targets=3), torch.tensor([4]), torch.tensor([[7, 1, 0, 2]])
    found = [targets(attack, number, ranked, y).item() for number in range(attack.attempts(10))]
    assert found == [4, 4, 7, 7, 1, 1, 0, 0] and MarginPGD(restarts=2, targets=0).attempts(10) == 2
    assert attack.attempts(3) == 6 and "2 targets instead of 3" in attack.note(3)
    # Rows of other attempts are written over the target in place, and must not be written over the label.
    assert targets(attack, 0, ranked, y) is not y


def test_the_step_falls_from_two_radii_along_half_a_cosine() -> None:
    # A gradient of 1 and a radius that the steps do not reach from the far end.
    model = LinearClassifier(
        torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    ).eval()
    attack, x, y = MarginPGD(eps=0.1, steps=4), torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.tensor([0])
    state = attack.init(x, y, y, 0, IndexNoise(0, torch.tensor([0])))
    for age in range(4):
        state.point, state.age = x - 0.1, torch.tensor([age])
        attack.step(ChunkedModel(model), state, IndexNoise(0, torch.tensor([0])))
        expected = 0.4 + min(0.1 * (1 + math.cos(math.pi * age / 4)), 0.2)
        assert state.point.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", ["logits", "probabilities"])
@pytest.mark.parametrize("norm, eps", [("linf", 0.004), ("l2", 0.02), ("l1", 0.03)])
def test_on_a_linear_model_of_five_classes_the_images_that_can_be_broken_are(norm: Any, eps: float, loss: Any) -> None:
    # In the middle of the box, which the ball does not leave: broken iff for some class t the margin grows past 0,
    # (w_t - w_y) x + eps ||w_t - w_y||_dual > 0.
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(5, 16, generator=generator, dtype=torch.float64)
    model = LinearClassifier(weight, -0.5 * weight.sum(dim=1)).eval()
    x = 0.5 + 0.1 * (2 * torch.rand(200, 1, 4, 4, generator=generator, dtype=torch.float64) - 1)
    logits = model(x).detach()
    y = logits.argmax(dim=1)
    differences = weight[None] - weight[y][:, None]
    dual = torch.linalg.vector_norm(differences, ord={"linf": 1, "l2": 2, "l1": math.inf}[norm], dim=2)
    reach = logits - logits.gather(1, y[:, None]) + eps * dual
    reach.scatter_(1, y[:, None], -torch.inf)
    breakable, sure = reach.amax(dim=1) > 0, reach.amax(dim=1).abs() > 1e-3
    found = ~is_right(model(MarginPGD(eps=eps, norm=norm, loss=loss, steps=20)(model, x, y)), y)
    assert 20 < int(breakable.sum()) < 180
    assert torch.equal(found[sure], breakable[sure])


def test_two_classes_have_one_target() -> None:
    assert MarginPGD().attempts(2) == 2
    x, model = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64), two_classes(64)
    x = x - 0.01 * model.weight[1].detach().sign().view(1, 1, 8, 8)
    assert not is_right(model(MarginPGD(eps=0.02, steps=5)(model, x, torch.tensor([0]))), torch.tensor([0])).any()


def test_the_margin_of_logits_alone_minds_no_scale() -> None:
    assert is_scale_free(MarginPGD()) and not is_scale_free(MarginPGD(loss="probabilities"))


def test_a_softmax_that_is_full_gives_no_gradient_and_leaves_the_image_in_the_ball() -> None:
    model, x = two_classes(64), torch.full((3, 1, 8, 8), 0.5, dtype=torch.float64)

    def steep(points: Tensor) -> Tensor:
        return 1e6 * (model(points) + torch.tensor([0.5, 0.0], dtype=torch.float64))

    found = MarginPGD(eps=0.01, steps=5, loss="probabilities")(steep, x, torch.zeros(3, dtype=torch.int64))
    assert (found - x).abs().max() <= 0.01 * (1 + 1e-6)


def test_starts_are_inside_of_the_ball_and_on_its_edge_in_turn() -> None:
    x, y, noise = torch.full((5, 1, 4, 4), 0.5), torch.zeros(5, dtype=torch.int64), IndexNoise(0, torch.arange(5))
    for norm in get_args(Norm):
        attack = MarginPGD(eps=0.25, norm=norm, restarts=3, targets=1)
        radii = [distance(attack.init(x, y, y, number, noise).point, x, norm) for number in range(6)]
        on_edge = [torch.allclose(radius, torch.tensor(0.25)) for radius in radii]
        # Three towards the nearest boundary, then three towards one class. (Of 16 numbers in linf some are far out.)
        assert on_edge == [False, True, False] * 2
