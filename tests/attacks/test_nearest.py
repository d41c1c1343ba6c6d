"""DeepFool and Carlini and Wagner's l2 attack against distances that are known in closed form."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import CarliniWagnerL2, DeepFool
from advdpnp.threat import distance
from attacks.linear import LinearClassifier, two_classes
from reference.hyperplane import displacement

NORMS: list[Any] = ["linf", "l2"]
WIDEST = {"linf": 1.0, "l2": 4.0}
ORDERS = {"linf": np.inf, "l2": 2}
DUALS = {"linf": 1, "l2": 2}
# Fewer and shorter steps than by default, from a weight of the right size: enough for so few pixels.
CW = CarliniWagnerL2(eps=4.0, steps=150, learning_rate=0.003, first_weight=0.1, bisections=6)


def several_classes(classes: int = 4, pixels: int = 16) -> LinearClassifier:
    weight = torch.randn(classes, pixels, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return LinearClassifier(weight, -0.5 * weight.sum(dim=1)).eval()


def inner_images(n: int = 12) -> Tensor:
    """So far from the ends of the box that they do not matter."""
    draws = torch.rand(n, 1, 1, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return 0.4 + 0.2 * draws


def curved() -> nn.Module:
    """Three classes with boundaries that are no planes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)).double().eval()
        with torch.no_grad():
            model[1].weight.mul_(4)
    return model


def to_the_planes(model: LinearClassifier, x: Tensor, y: Tensor, norm: str) -> Tensor:
    """The distance to the nearest boundary, without a box: the gap over the dual norm of the difference of the rows."""
    logits, weight = model(x).detach(), model.weight.detach()
    own = torch.arange(len(x)), y
    gaps = logits[own][:, None] - logits
    slopes = torch.linalg.vector_norm(weight[y][:, None] - weight, ord=DUALS[norm], dim=2)
    ratios = gaps / slopes
    ratios[own] = torch.inf
    return ratios.amin(dim=1)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("norm", NORMS)
def test_deepfool_on_an_affine_classifier_is_the_distance_times_the_overshoot(norm: Any, classes: int) -> None:
    model, x = several_classes(classes), inner_images()
    y = model(x).argmax(dim=1)
    exact = to_the_planes(model, x, y, norm)
    for overshoot in (0.001, 0.02, 0.3):
        x_adv = DeepFool(eps=WIDEST[norm], norm=norm, overshoot=overshoot)(model, x, y)
        torch.testing.assert_close(distance(x_adv, x, norm), (1 + overshoot) * exact, rtol=1e-9, atol=0)
        assert (model(x_adv).argmax(dim=1) != y).all()


def test_deepfool_looks_at_so_many_boundaries_and_no_more() -> None:
    # Logits 10 x_k: class 1 is the likeliest other class and, since its row is long, the farther one from class 0.
    weight = torch.diag(torch.tensor([10.0, 10.0, 10.0, 10.0])).double()
    weight[1] *= 0.0
    weight[1, 1] = 1.0
    bias = torch.tensor([0.0, 4.0, 0.0, 0.0]).double()
    model, x = LinearClassifier(weight, bias).eval(), torch.tensor([0.5, 0.5, 0.4, 0.2]).double().view(1, 1, 1, 4)
    y = torch.tensor([0])
    # Gaps 0.5 to class 1, 1 to class 2, 3 to class 3; l1 norms of the differences 11, 20, 20.
    for targets, found in ((1, 0.5 / 11), (2, 0.5 / 11)):
        attack = DeepFool(eps=1.0, targets=targets, overshoot=0.001)
        assert distance(attack(model, x, y), x, "linf").item() == pytest.approx(1.001 * found)
    with torch.no_grad():
        model.bias[1] = 3.8
    # Now class 1 is 0.7 away and still the likeliest: alone 0.7 / 11, beside class 2 at 1 / 20 no more.
    for targets, found in ((1, 0.7 / 11), (2, 1 / 20)):
        attack = DeepFool(eps=1.0, targets=targets, overshoot=0.001)
        assert distance(attack(model, x, y), x, "linf").item() == pytest.approx(1.001 * found)


@pytest.mark.parametrize("norm", NORMS)
def test_deepfool_on_curved_boundaries_is_a_loop_over_single_images(norm: Any) -> None:
    model, x = curved(), inner_images(6)
    y = model(x).argmax(dim=1)
    found = DeepFool(eps=WIDEST[norm], norm=norm)(model, x, y)
    for image, label, end in zip(x, y.tolist(), found, strict=True):
        total, point = torch.zeros_like(image), image
        for _ in range(50):
            jacobian = torch.autograd.functional.jacobian(lambda z: model(z[None])[0], point)  # type: ignore[no-untyped-call]
            logits = model(point[None])[0]
            if logits.argmax() != label:
                break
            steps = []
            for k in (k for k in range(3) if k != label):
                w, gap = jacobian[k] - jacobian[label], (logits[k] - logits[label]).abs()
                step = gap / w.norm() ** 2 * w if norm == "l2" else gap / w.abs().sum() * w.sign()
                steps.append((torch.linalg.vector_norm(step.flatten(), ord=ORDERS[norm]).item(), step))
            total = total + min(steps, key=lambda pair: pair[0])[1]
            point = (image + 1.02 * total).clamp(0, 1)
        torch.testing.assert_close(end, point, rtol=0, atol=1e-9)


def test_deepfool_and_cw_at_a_target_go_the_distance_to_the_target() -> None:
    # Logits 10 x_k: class 3 takes over class 0 in the middle between their pixels; class 1 is nearer.
    model = LinearClassifier(10 * torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)).eval()
    x, y = torch.tensor([0.5, 0.46, 0.3, 0.3]).double().view(1, 1, 1, 4), torch.tensor([0])
    free, aimed = (distance(DeepFool(eps=1.0, target=t)(model, x, y), x, "linf").item() for t in (None, 3))
    # Aimed, it raises class 3 against class 0, then against class 1, and never turns back.
    assert free == pytest.approx(1.02 * 0.02, rel=1e-6) and 0.1 < aimed < 0.15
    free, aimed = (distance(replace(CW, eps=1.0, target=t)(model, x, y), x, "l2").item() for t in (None, 3))
    # Class 0 and 3 must come below 0.46 and above it: the nearest point with x_3 >= x_0, x_1 has them all at 0.42.
    assert free == pytest.approx(0.02 * 2**0.5, rel=0.01)
    assert aimed == pytest.approx((0.08**2 + 0.04**2 + 0.12**2) ** 0.5, rel=0.01)


def test_cw_l2_of_two_linear_classes_is_the_distance_within_one_percent() -> None:
    model, x = two_classes(16), inner_images(6)
    y = model(x).argmax(dim=1)
    ratio = distance(CW(model, x, y), x, "l2") / to_the_planes(model, x, y, "l2")
    assert (ratio > 0.999999).all() and (ratio < 1.01).all()


def test_cw_l2_at_each_class_in_turn_finds_the_nearest_of_several_planes_within_one_percent() -> None:
    # Without a target it descends to the likeliest other class, which is not always the nearest.
    model, x = several_classes(), inner_images(5)
    y = model(x).argmax(dim=1)
    radii = [distance(CW(model, x, y, target=torch.full_like(y, k)), x, "l2") for k in range(4)]
    # An image of the target stays as it is.
    nearest = torch.stack([torch.where(y == k, torch.inf, radius) for k, radius in enumerate(radii)]).amin(dim=0)
    ratio = nearest / to_the_planes(model, x, y, "l2")
    assert (ratio > 0.999999).all() and (ratio < 1.01).all()


def test_cw_l2_finds_the_nearest_point_within_the_box() -> None:
    model = two_classes(16)
    x = torch.rand(6, 1, 1, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.where(x < 0.1, 0.0, torch.where(x > 0.9, 1.0, x))
    y = model(x).argmax(dim=1)
    w, b = model.weight[1].detach().numpy(), -model.bias[1].item()
    exact = torch.tensor([np.linalg.norm(displacement(z.numpy().ravel(), w, b, "l2"), 2) for z in x])
    # The change of variable is steep at the ends of the box, so that it takes more and longer steps.
    ratio = distance(replace(CW, steps=500, learning_rate=0.03)(model, x, y), x, "l2") / exact
    assert (ratio > 0.999999).all() and (ratio < 1.02).all()


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_cw_l2_finds_the_weight_for_logits_of_any_scale(scale: float) -> None:
    model, x = two_classes(16), inner_images(4)
    y = model(x).argmax(dim=1)
    exact = to_the_planes(model, x, y, "l2")
    scaled = LinearClassifier(scale * model.weight.detach(), scale * model.bias.detach()).eval()
    assert (distance(replace(CW, bisections=9)(scaled, x, y), x, "l2") < 1.02 * exact).all()


NEAREST: list[Any] = [
    replace(CW, steps=40, bisections=3, learning_rate=0.02),
    DeepFool(eps=0.5),
    DeepFool(eps=2.0, norm="l2"),
]


@pytest.mark.parametrize("attack", NEAREST, ids=["cw-l2", "deepfool-linf", "deepfool-l2"])
def test_images_beyond_the_radius_and_wrong_images_stay_as_they_are(attack: Any) -> None:
    model, x = curved(), inner_images()
    y = model(x).argmax(dim=1)
    y[0] = (y[0] + 1) % 3
    far = distance(attack(model, x, y), x, attack.norm)
    assert (far[1:] > 0).all() and (model(attack(model, x, y)).argmax(dim=1) != y).all()
    middle = far[1:].median().item()
    found = distance(replace(attack, eps=middle)(model, x, y), x, attack.norm)
    assert found[0] == 0
    assert torch.equal(found[1:], torch.where(far[1:] <= middle, far[1:], 0.0))
    assert not distance(replace(attack, eps=0.0)(model, x, y), x, attack.norm).any()


@pytest.mark.parametrize("kind", [DeepFool, CarliniWagnerL2])
def test_restarts_are_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match=f"{kind.name} is one search for each image: leave restarts 1; got 2"):
        kind(restarts=2)


def test_cw_is_of_l2_alone() -> None:
    with pytest.raises(ValueError, match="norm must be one of l2; got 'linf'"):
        CarliniWagnerL2(norm="linf")  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", NORMS)
def test_deepfool_goes_to_the_nearest_point_within_the_box(norm: Any) -> None:
    model = two_classes(16)
    x = torch.rand(8, 1, 1, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # Some pixels are at the ends of the box, where they can move one way only.
    x = torch.where(x < 0.2, 0.0, torch.where(x > 0.8, 1.0, x))
    y = model(x).argmax(dim=1)
    w, b = model.weight[1].detach().numpy(), -model.bias[1].item()
    exact = torch.tensor([np.linalg.norm(displacement(z.numpy().ravel(), w, b, norm), ORDERS[norm]) for z in x])
    x_adv = DeepFool(eps=WIDEST[norm], norm=norm)(model, x, y)
    ratio = distance(x_adv, x, norm) / exact
    # Where pixels meet the box only the others overshoot.
    assert (ratio > 1).all() and (ratio <= 1.02 + 1e-9).all() and (model(x_adv).argmax(dim=1) != y).all()


@pytest.mark.parametrize("norm", NORMS)
def test_deepfool_in_the_box_is_the_authors_code_with_the_iterate_cut(norm: Any) -> None:
    # Half of the pixels are at an end of the box, so that iterates are cut, and steps fall short of their planes.
    model, x = curved(), inner_images(12)
    x[..., ::2] = torch.rand(12, 1, 1, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).round()
    y = model(x).argmax(dim=1)
    found = DeepFool(eps=WIDEST[norm], norm=norm)(model, x, y)
    assert (model(found).argmax(dim=1) != y).all()
    for image, label, end in zip(x, y.tolist(), found, strict=True):
        total, point = torch.zeros_like(image), image
        while (logits := model(point[None])[0]).argmax() == label:
            jacobian = torch.autograd.functional.jacobian(lambda z: model(z[None])[0], point)  # type: ignore[no-untyped-call]
            ways = []
            for k in (k for k in range(3) if k != label):
                w, gap = jacobian[k] - jacobian[label], (logits[k] - logits[label]).abs()
                slope, unit = (w.norm(), w / w.norm()) if norm == "l2" else (w.abs().sum(), w.sign())
                ways.append((gap / slope, unit))
            length, unit = min(ways, key=lambda way: way[0].item())
            total = total + (length + 1e-4) * unit
            point = (image + 1.02 * total).clamp(0, 1)
        # There every step is longer by 1e-4, here those after a cut.
        torch.testing.assert_close(
            distance(end[None], image[None], norm), distance(point[None], image[None], norm), rtol=0, atol=4e-4
        )


def test_cw_l2_does_not_give_up_pixels_that_begin_at_an_end_of_the_box() -> None:
    # Black and white alone, where (1 - tanh(w)^2) / 2 is 1e-6: at first nothing seems to move.
    model, x = two_classes(16), torch.rand(6, 1, 1, 16, generator=torch.Generator().manual_seed(0)).round().double()
    y = model(x).argmax(dim=1)
    w, b = model.weight[1].detach().numpy(), -model.bias[1].item()
    exact = torch.tensor([np.linalg.norm(displacement(z.numpy().ravel(), w, b, "l2"), 2) for z in x])
    ratio = distance(CarliniWagnerL2(eps=4.0, steps=100, learning_rate=0.1)(model, x, y), x, "l2") / exact
    assert (ratio > 0.999999).all() and (ratio < 1.02).all()
