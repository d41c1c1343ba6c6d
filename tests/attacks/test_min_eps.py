"""The smallest radius of each image, against closed forms on linear networks, and what must hold on any network."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import APGDT, MinEps
from advdpnp.threat import distance
from attacks.linear import LinearClassifier, two_classes
from reference.hyperplane import displacement

NORMS: list[Any] = ["linf", "l2", "l1"]
WIDEST = {"linf": 1.0, "l2": 4.0, "l1": 16.0}
ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}


def images(n: int = 12, pixels: int = 16) -> Tensor:
    draws = torch.rand(n, 1, 1, pixels, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # Some pixels are at the ends of the box, where they can move one way only.
    return torch.where(draws < 0.1, 0.0, torch.where(draws > 0.9, 1.0, draws))


def curved() -> nn.Module:
    """Three classes with boundaries that are no planes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layers = [nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3)]
        model = nn.Sequential(*layers).double().eval()
        with torch.no_grad():
            model[1].weight.mul_(4)
    return model


@pytest.mark.parametrize("norm", NORMS)
def test_two_linear_classes_are_the_distance_to_the_plane_within_the_box(norm: Any) -> None:
    model, x = two_classes(16), images()
    y = model(x).argmax(dim=1)
    found = distance(MinEps(eps=WIDEST[norm], norm=norm)(model, x, y), x, norm)
    w, b = model.weight[1].detach().numpy(), -model.bias[1].item()
    exact = [np.linalg.norm(displacement(z.numpy().ravel(), w, b, norm), ORDERS[norm]) for z in x]
    ratio = found / torch.tensor(np.array(exact))
    # An upper bound, and no more than 2^-10 of the first radius tried above it.
    assert (ratio > 1).all() and (ratio < 1.002).all()


def test_where_the_box_does_not_matter_it_is_the_margin_over_the_dual_norm() -> None:
    # Pixels at 0.5, and |w.x + b| = 0.2 or 0.4 with ||w||_1 = 4 and ||w||_2 = 2.
    model = LinearClassifier(
        torch.tensor([[0.0] * 4, [1.0, -1.0, 1.0, 1.0]]).double(), torch.tensor([0.0, -0.8]).double()
    )
    x, y = torch.full((2, 1, 2, 2), 0.5).double(), torch.tensor([1, 1])
    x[1] += 0.1
    for norm, dual in (("linf", 4), ("l2", 2)):
        attack: Any = MinEps(eps=1.0, norm=norm)
        found = distance(attack(model.eval(), x, y), x, norm)
        torch.testing.assert_close(found, torch.tensor([0.2, 0.4]).double() / dual, rtol=0.002, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_of_several_linear_classes_it_is_the_nearest_plane(norm: Any) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4, 16, generator=generator, dtype=torch.float64)
    model, x = LinearClassifier(weight, -0.5 * weight.sum(dim=1)).eval(), images()
    y = model(x).argmax(dim=1)
    found = distance(MinEps(eps=WIDEST[norm], norm=norm)(model, x, y), x, norm)
    exact = []
    for z, label in zip(x, y.tolist(), strict=True):
        gaps = [(weight[k] - weight[label]).numpy() for k in range(4) if k != label]
        planes = [displacement(z.numpy().ravel(), w, 0.5 * w.sum(), norm) for w in gaps]
        exact.append(min(np.linalg.norm(d, ORDERS[norm]) for d in planes))
    ratio = found / torch.tensor(exact)
    # The nearest plane: behind it may be another class than that of the plane, so what is found can be nearer still.
    assert (ratio > 0.999).all() and (ratio < 1.005).all()


def test_at_a_target_it_is_the_distance_to_the_target() -> None:
    # Logits 10 x_k: class 3 takes over class 0 in the middle between their pixels; class 1 is nearer.
    model = LinearClassifier(10 * torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)).eval()
    x, y = torch.tensor([0.5, 0.46, 0.3, 0.3]).double().view(1, 1, 1, 4), torch.tensor([0])
    free = distance(MinEps(eps=1.0)(model, x, y), x, "linf").item()
    aimed = distance(MinEps(eps=1.0, target=3)(model, x, y), x, "linf").item()
    assert free == pytest.approx(0.02, rel=0.01) and aimed == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("norm", NORMS)
def test_the_point_breaks_the_image_within_ball_and_box(norm: Any) -> None:
    model, x = curved(), images()
    y = model(x).argmax(dim=1)
    attack = MinEps(eps=WIDEST[norm], norm=norm)
    point = attack(model, x, y)
    radius = distance(point, x, norm)
    assert (model(point).argmax(dim=1) != y).all()
    assert (radius > 0).all() and (radius <= attack.eps).all() and point.min() >= 0 and point.max() <= 1


def test_no_attack_of_a_larger_budget_breaks_an_image_far_below_the_radius() -> None:
    model, x = curved(), images(4)
    y = model(x).argmax(dim=1)
    radius = distance(MinEps(eps=1.0)(model, x, y), x, "linf")
    for one in range(len(x)):
        attack = APGDT(eps=0.95 * radius[one].item(), steps=100)
        assert model(attack(model, x[one : one + 1], y[one : one + 1])).argmax(dim=1) == y[one]


def test_more_bisections_find_no_larger_radius() -> None:
    model, x = curved(), images()
    y = model(x).argmax(dim=1)
    radii = [distance(MinEps(eps=1.0, bisections=count)(model, x, y), x, "linf") for count in (1, 4, 10)]
    assert (radii[1] <= radii[0]).all() and (radii[2] <= radii[1]).all() and (radii[2] < radii[0]).any()


def test_images_beyond_the_largest_radius_and_wrong_images_stay_as_they_are() -> None:
    model, x = two_classes(16), images()
    y = model(x).argmax(dim=1)
    y[0] = 1 - y[0]
    far = distance(MinEps(eps=1.0)(model, x, y), x, "linf")
    eps = far[1:].median().item()
    found = distance(MinEps(eps=eps)(model, x, y), x, "linf")
    assert found[0] == 0
    assert torch.equal(found[1:] > 0, far[1:] <= eps)
    assert (found <= eps * 1.0001).all()


def test_the_search_of_an_image_does_not_depend_on_the_others() -> None:
    model, x = curved(), images(4)
    y = model(x).argmax(dim=1)
    attack = MinEps(eps=1.0, boundary_steps=6, steps=4, bisections=5)
    together = attack(model, x, y)
    alone = torch.cat([attack(model, x[one : one + 1], y[one : one + 1]) for one in range(len(x))])
    torch.testing.assert_close(together, alone)


def test_restarts_are_refused() -> None:
    with pytest.raises(ValueError, match="min-eps is one search for each image: leave restarts 1; got 2"):
        MinEps(restarts=2)
