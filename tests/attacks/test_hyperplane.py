"""Projection onto a hyperplane within the box: against float64 bisection, linear programs, and the official code."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyautoattack.fab_projections import projection_l1, projection_l2, projection_linf
from scipy.optimize import linprog
from torch import Tensor

from advdpnp.attacks.fab import to_hyperplane
from reference.hyperplane import displacement

NORMS = ("linf", "l2", "l1")
OFFICIAL = {"linf": projection_linf, "l2": projection_l2, "l1": projection_l1}

WEIGHTS = st.one_of(st.just(0.0), st.floats(1e-3, 1e3), st.floats(-1e3, -1e-3))
PIXELS = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))


def problem(seed: int, share: float, rows: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Points in the box, uneven normals, and planes at `share` of the way down to the lowest corner."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.rand(rows, 3072, generator=generator)
    z = torch.where(torch.rand(z.shape, generator=generator) < 0.2, z.round(), z)
    scale = torch.randn(z.shape, generator=generator).mul(1.5).exp()
    w = torch.randn(z.shape, generator=generator) * scale
    return z, w, (1 - share) * (w * z).sum(dim=1) + share * w.clamp_max(0).sum(dim=1)


def of_two_scales(scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """A third of the weights 0, a third multiplied by `scale`; planes within reach."""
    z, w, _ = problem(2, 0.0)
    w[:, ::3], w[:, 1::3] = 0, w[:, 1::3] * scale
    return z, w, (w * z).sum(dim=1) - 0.05 * w.abs().sum(dim=1)


def slow(z: Tensor, w: Tensor, b: Tensor, norm: str) -> Tensor:
    rows = zip(z.double().numpy(), w.double().numpy(), b.double().numpy(), strict=True)
    return torch.from_numpy(np.stack([displacement(*row, norm) for row in rows]))


@pytest.mark.parametrize("norm", NORMS)
@settings(deadline=None)
@given(st.lists(st.tuples(PIXELS, WEIGHTS), min_size=1, max_size=10), st.floats(-0.5, 1.5))
def test_projection_equals_bisection_on_planes_within_reach_and_beyond(
    norm: str, rows: list[tuple[float, float]], share: float
) -> None:
    z, w = torch.tensor(rows, dtype=torch.float64).T
    low, high = w.clamp_max(0).sum(), w.clamp_min(0).sum()
    b = low + share * (high - low)
    expected, found = displacement(z.numpy(), w.numpy(), b.item(), norm), to_hyperplane(z, w, b, norm).numpy()
    if norm == "l1":
        # Of pixels of equal weight any may go first: the way is as long, and ends as near to the plane.
        expected, found = (np.array([np.abs(d).sum(), w.numpy() @ d]) for d in (expected, found))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_way_to_the_plane_is_shorter(seed: int) -> None:
    generator = np.random.default_rng(seed)
    z, w = generator.random(12), generator.normal(size=12)
    b = float(w @ generator.random(12))
    d = {norm: displacement(z, w, b, norm) for norm in NORMS}
    # l2: d is nearest to 0 of a convex set where no point e of it has d.e < d.d.
    box = list(zip(-z, 1 - z, strict=True))
    best = linprog(d["l2"], A_eq=[w], b_eq=[b - w @ z], bounds=box)
    assert best.fun == pytest.approx(d["l2"] @ d["l2"], abs=1e-9)
    # linf: the least t with -t <= e <= t.
    sides = np.block([[np.eye(12), -np.ones((12, 1))], [-np.eye(12), -np.ones((12, 1))]])
    plane = [np.append(w, 0)]
    best = linprog(np.append(np.zeros(12), 1), sides, np.zeros(24), plane, [b - w @ z], bounds=[*box, (0, None)])
    assert best.fun == pytest.approx(np.abs(d["linf"]).max(), abs=1e-9)
    # l1: the least sum of the ways up and down of all pixels.
    ways = [(0, 1 - value) for value in z] + [(0, value) for value in z]
    best = linprog(np.ones(24), A_eq=[np.append(w, -w)], b_eq=[b - w @ z], bounds=ways)
    assert best.fun == pytest.approx(np.abs(d["l1"]).sum(), abs=1e-9)
    assert w @ (z + d["l1"]) == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize("share", [1e-3, 0.1, 0.5, 0.9, 0.99, 1.5])
@pytest.mark.parametrize("norm", NORMS)
def test_fp32_is_exact_to_rounding_on_images(norm: str, share: float) -> None:
    z, w, b = problem(0, share)
    # Rounding of a sum over 3,072 weights moves the plane; the less there is left to move, the farther.
    rounding = 10 * torch.finfo(torch.float32).eps / abs(1 - share)
    found, exact = to_hyperplane(z, w, b, norm).double(), slow(z, w, b, norm)
    if norm == "l1":
        # One pixel, the last and least steep that moves, makes up for all rounding: it may end a little elsewhere.
        torch.testing.assert_close(found.abs().sum(dim=1), exact.abs().sum(dim=1), rtol=2e-6, atol=rounding)
        assert ((found - exact).abs() > rounding).sum(dim=1).max() <= 2
        return
    torch.testing.assert_close(found, exact, rtol=0, atol=rounding)


@pytest.mark.parametrize("share", [0.0, 1e-3, 0.01, 0.1, 0.5, 1.5])
@pytest.mark.parametrize("norm", NORMS)
def test_projection_equals_the_official_one_to_rounding(norm: str, share: float) -> None:
    z, w, b = problem(1, share)
    torch.testing.assert_close(to_hyperplane(z, w, b, norm), OFFICIAL[norm](z, w, b), rtol=0, atol=2e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-9, 1e-3, 1e3])
@pytest.mark.parametrize("norm", NORMS)
def test_degenerate_weights_are_treated_as_the_official_code_does(norm: str, scale: float) -> None:
    z, w, b = of_two_scales(scale)
    torch.testing.assert_close(to_hyperplane(z, w, b, norm), OFFICIAL[norm](z, w, b), rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("norm", NORMS)
def test_weights_of_two_scales_are_projected_exactly(norm: str, scale: float) -> None:
    # The official l2 projection goes astray here: it subtracts sums of squares that differ in their last digits.
    z, w, b = of_two_scales(scale)
    torch.testing.assert_close(to_hyperplane(z, w, b, norm).double(), slow(z, w, b, norm), rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_a_point_of_the_plane_stays(norm: str) -> None:
    z, w, _ = problem(3, 0.0)
    assert torch.equal(to_hyperplane(z, w, (w * z).sum(dim=-1), norm), torch.zeros_like(z))


@pytest.mark.parametrize("b", [0.0, 3.0, -3.0])
@pytest.mark.parametrize("norm", NORMS)
def test_without_a_normal_nothing_moves(norm: str, b: float) -> None:
    z, _, _ = problem(4, 0.0)
    moved = to_hyperplane(z, torch.zeros_like(z), torch.full((len(z),), b), norm)
    assert torch.equal(moved, torch.zeros_like(z))


@pytest.mark.parametrize("norm", NORMS)
def test_rows_do_not_depend_on_their_neighbors(norm: str) -> None:
    z, w, b = problem(5, 0.3)
    b[::2] -= 1e6
    together = to_hyperplane(torch.stack((z, z.flip(1))), w, b, norm)
    alone = [to_hyperplane(z[i : i + 1], w[i : i + 1], b[i : i + 1], norm) for i in range(len(z))]
    assert torch.equal(together[0], torch.cat(alone))
