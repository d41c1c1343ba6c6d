"""The projection onto the l1 ball cut with the box: the nearest point, exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advdpnp.threat import into_l1_ball
from reference import apgd as reference

# Sixteenths give ties, pixels at the edges of the box and perturbations of zero.
PIXELS = 12
pixels = st.lists(st.integers(0, 16).map(lambda v: v / 16), min_size=PIXELS, max_size=PIXELS)
changes = st.lists(st.integers(-32, 32).map(lambda v: v / 16) | st.floats(-2, 2), min_size=PIXELS, max_size=PIXELS)
radii = st.integers(0, 32).map(lambda v: v / 8) | st.floats(0, 4)


def projected(delta: Tensor, x: Tensor, eps: float | Tensor) -> Tensor:
    return delta + into_l1_ball(delta, x, eps)


def image(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 3, 2, 2)


def noise(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, 8, 8, generator=generator), torch.rand(n, 3, 8, 8, generator=generator)


@settings(max_examples=150, deadline=None)
@given(changes, pixels, radii)
def test_the_projection_is_that_of_the_bisection(delta: list[float], x: list[float], eps: float) -> None:
    expected = reference.project_l1(np.array(delta), np.array(x), eps)
    found = projected(image(delta), image(x), eps).flatten().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(changes, pixels, radii, changes)
def test_no_admissible_point_is_on_the_far_side_of_the_projection(
    delta: list[float], x: list[float], eps: float, other: list[float]
) -> None:
    # The law that defines projections onto convex sets, for any admissible point at all.
    found = projected(image(delta), image(x), eps)
    inside = (image(x) + image(other)).clamp(0, 1) - image(x)
    inside *= min(1.0, eps / max(inside.abs().sum().item(), 1e-9))
    assert ((image(delta) - found) * (inside - found)).sum() <= 1e-9


def test_fp32_perturbations_as_large_as_an_attack_makes_them_end_on_the_sphere_and_in_the_box() -> None:
    delta, x = noise(8)
    found = projected(0.1 * delta, x, 12.0)
    length = found.double().abs().flatten(1).sum(dim=1)
    # 192 changes, each rounded in float32, and their sum there.
    torch.testing.assert_close(length, torch.full_like(length, 12.0), rtol=100 * torch.finfo(torch.float32).eps, atol=0)
    assert (x + found).min() >= -1e-7 and (x + found).max() <= 1 + 2e-7


def test_what_is_inside_stays_as_it_is() -> None:
    delta, x = noise(4)
    inside = (x + 0.01 * delta).clamp(0, 1) - x
    assert not into_l1_ball(inside, x, 1e3).any()


def test_radius_zero_leaves_nothing_but_a_rounding() -> None:
    delta, x = noise(4)
    torch.testing.assert_close(projected(delta, x, 0.0), torch.zeros_like(x), rtol=0, atol=1e-4)


def test_a_pixel_that_is_not_perturbed_is_not_touched() -> None:
    delta, x = noise(4)
    delta[:, :, ::2] = 0
    assert not projected(delta, x, 1.0)[:, :, ::2].any()


@pytest.mark.parametrize("rows", [[2], [4, 0], [3, 3, 1]])
def test_rows_with_radii_of_their_own_do_not_know_of_each_other(rows: list[int]) -> None:
    delta, x = noise(5)
    eps = torch.tensor([0.0, 1.0, 3.0, 10.0, 1e4])
    assert torch.equal(into_l1_ball(delta[rows], x[rows], eps[rows]), into_l1_ball(delta, x, eps)[rows])
