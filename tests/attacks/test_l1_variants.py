"""What PGD is in l1, by its variants, and SLIDE: step by step against slow versions, and on linear models."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import PGD, SLIDE, Attack
from advdpnp.attacks.l1_variants import DenseL1, RescaledL1, SparseL1
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel, distance
from attacks.linear import LinearClassifier, two_classes
from reference import l1_ascent as reference
from reference.attacks import linear_optimum

VARIANTS = ["coordinate", "dense", "rescaled", "slide"]
EPS = 3.0


def attack(variant: str, **fields: Any) -> Attack:
    return SLIDE(**fields) if variant == "slide" else PGD(norm="l1", ascent=variant, **fields)  # type: ignore[arg-type]


def images(n: int = 4, size: int = 12) -> Tensor:
    draws = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # Some pixels are at the ends of the box.
    return torch.where(draws < 0.1, 0.0, torch.where(draws > 0.9, 1.0, draws))


def curved(size: int = 12) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layers = [nn.Flatten(), nn.Linear(size * size, 12), nn.Tanh(), nn.Linear(12, 3)]
        return nn.Sequential(*layers).double().eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_step_is_that_of_the_slow_version(variant: str) -> None:
    # 144 pixels, of which SLIDE moves two.
    model, x = curved(), images()
    y = model(x).argmax(dim=1)
    how: dict[str, Any] = {"eps": EPS, "step_size": 0.4, "random_start": False}
    for steps in (1, 2, 25):
        found = attack(variant, steps=steps, **how)(model, x, y)
        for image, label, point in zip(x, y, found, strict=True):

            def gradient(values: Any, label: Tensor = label) -> Any:
                at = torch.from_numpy(values).view(1, 1, 12, 12).requires_grad_()
                loss = nn.functional.cross_entropy(model(at), label[None])
                return torch.autograd.grad(loss, at)[0].flatten().numpy()

            expected = reference.ascend(gradient, image.flatten().numpy(), EPS, 0.4, steps, variant)
            np.testing.assert_allclose(point.flatten().numpy(), expected, rtol=0, atol=1e-9)


def linear(x: Tensor) -> tuple[LinearClassifier, Tensor, np.ndarray]:
    """Model of two classes, labels, and the way that breaks each image, (n, 16)."""
    model = two_classes(16)
    y = model(x).argmax(dim=1)
    w = (model.weight[1] - model.weight[0]).detach().numpy()
    return model, y, np.where(y.numpy()[:, None] == 0, w, -w)


def gains(points: Tensor, x: Tensor, ways: np.ndarray) -> np.ndarray:
    """By how much the margin of each image has moved."""
    return np.einsum("np,np->n", (points - x).flatten(1).numpy(), ways)


@pytest.mark.parametrize("variant", ["coordinate", "rescaled", "slide"])
def test_where_one_pixel_has_room_for_the_radius_it_takes_all_of_it(variant: str) -> None:
    x = 0.3 + 0.4 * images(12, 4)
    model, y, ways = linear(x)
    point = attack(variant, eps=0.25, random_start=False)(model, x, y)
    steepest = abs(ways).argmax(axis=1)
    np.testing.assert_allclose(gains(point, x, ways), 0.25 * abs(ways).max(axis=1), rtol=1e-9)
    moved = (point - x).abs().flatten(1)
    assert (moved > 0).sum(dim=1).tolist() == [1] * len(x) and moved.argmax(dim=1).tolist() == steepest.tolist()


def test_a_dense_step_gains_the_mean_square_of_the_weight_over_its_mean_size() -> None:
    x = 0.3 + 0.4 * images(12, 4)
    model, y, ways = linear(x)
    point = attack("dense", eps=0.25, random_start=False)(model, x, y)
    expected = 0.25 * (ways**2).sum(axis=1) / abs(ways).sum(axis=1)
    np.testing.assert_allclose(gains(point, x, ways), expected, rtol=1e-9)
    assert (expected < 0.25 * abs(ways).max(axis=1)).all()


def test_single_coordinates_stop_at_the_first_edge_and_sparse_steps_go_on_to_the_optimum() -> None:
    # A linear model's gradient never turns, so the steepest pixel stays the steepest when it cannot move any more.
    x = images(12, 4)
    model, y, ways = linear(x)
    flat = x.flatten(1).numpy()
    best = np.array([way @ (linear_optimum(way, image, "l1", 2.0) - image) for way, image in zip(ways, flat)])
    found = {variant: gains(attack(variant, eps=2.0, random_start=False)(model, x, y), x, ways) for variant in VARIANTS}
    room = np.where(ways > 0, 1 - flat, flat)
    steepest = abs(ways).argmax(axis=1)
    rows = np.arange(len(x))
    np.testing.assert_allclose(found["coordinate"], (abs(ways) * room)[rows, steepest], atol=1e-9)
    np.testing.assert_allclose(found["rescaled"], found["coordinate"], atol=1e-9)
    assert all((gain <= best + 1e-9).all() for gain in found.values())
    assert (found["slide"] > 0.97 * best).all() and (found["coordinate"] < 0.8 * best).all()


def test_a_sparse_step_moves_the_largest_entries_that_the_box_does_not_hold_by_equal_amounts() -> None:
    threat, x = SparseL1("l1", 5.0, 0.75), torch.tensor([0.0, 0.5, 1.0, 0.5, 0.5]).view(1, 1, 1, 5)
    # Of five entries two are not below the 0.75 quantile; the largest two would leave the box.
    gradient = torch.tensor([-9.0, 3.0, 8.0, -2.0, 1.0]).view(1, 1, 1, 5)
    ahead = threat.advance(x, gradient, 0.2, x)
    torch.testing.assert_close((ahead - x).flatten(), torch.tensor([0.0, 0.1, 0.0, -0.1, 0.0]))
    assert torch.equal(threat.advance(x, torch.zeros_like(x), 0.2, x), x)


@pytest.mark.parametrize("pixels, moving", [(16, 1), (64, 1), (101, 2), (784, 8), (3072, 31)])
def test_as_many_pixels_move_as_are_not_below_the_quantile(pixels: int, moving: int) -> None:
    gradient = torch.randn(2, 1, 1, pixels, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = SparseL1("l1", 1.0).step(gradient)
    sizes = gradient.abs().flatten(1).numpy()
    assert (sizes >= np.quantile(sizes, 0.99, axis=1)[:, None]).sum(axis=1).tolist() == [moving] * 2
    assert (step != 0).flatten(1).sum(dim=1).tolist() == [moving] * 2
    torch.testing.assert_close(step.abs().flatten(1).sum(dim=1), torch.ones(2).double())


@pytest.mark.parametrize("threat", [DenseL1("l1", 1.5), RescaledL1("l1", 1.5)])
def test_rescaling_keeps_proportions_and_ends_in_ball_and_box(threat: ThreatModel) -> None:
    x = torch.full((1, 1, 1, 4), 0.5, dtype=torch.float64)
    delta = torch.tensor([0.4, -0.2, 0.1, 0.0], dtype=torch.float64)
    assert torch.equal(threat.project(x + delta, x), x + delta)
    small = type(threat)("l1", 0.35)
    torch.testing.assert_close(small.project(x + delta, x) - x, (delta / 2).view_as(x))
    far = torch.randn(20, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    around = torch.rand(20, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    inside = threat.project(around + far, around)
    assert (distance(inside, around, "l1") <= 1.5 + 1e-5).all() and 0 <= inside.min() <= inside.max() <= 1


def test_the_dense_start_is_uniform_in_the_ball() -> None:
    # A share r^9 of the volume of nine dimensions is within r eps.
    x = torch.full((4000, 1, 3, 3), 0.5)
    radius = distance(DenseL1("l1", 0.4).start(x, IndexNoise(0, torch.arange(4000))), x, "l1") / 0.4
    assert radius.max() <= 1 + 1e-5
    for share in (0.9, 0.95):
        assert abs((radius < share).double().mean().item() - share**9) < 0.03
