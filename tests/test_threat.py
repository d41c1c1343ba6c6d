import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel, check_fits, eps_text, onto_l1_ball, parse_eps
from reference.apgd import project_l1

NORMS = ("linf", "l2", "l1")
ORDERS = {"linf": float("inf"), "l2": 2, "l1": 1}


def size(delta: torch.Tensor, norm: str) -> torch.Tensor:
    return torch.linalg.vector_norm(delta.flatten(1), ord=ORDERS[norm], dim=1)


@given(st.integers(0, 10_000), st.floats(0, 1), st.sampled_from(NORMS))
def test_projection_is_inside_ball_and_box_and_idempotent(seed: int, eps: float, norm: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3, 2, 4, 4, generator=generator)
    threat = ThreatModel(norm, eps)
    projected = threat.project(x + torch.randn(x.shape, generator=generator), x)
    assert projected.min() >= 0 and projected.max() <= 1
    assert (size(projected - x, norm) <= eps + 1e-6).all()
    torch.testing.assert_close(threat.project(projected, x), projected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_a_point_inside_stays(norm: str) -> None:
    x = torch.full((2, 1, 3, 3), 0.5)
    inside = x + 0.01
    torch.testing.assert_close(ThreatModel(norm, 0.5).project(inside, x), inside)


def test_l2_projection_is_the_nearest_point_of_the_ball() -> None:
    x = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    far = x + torch.tensor([0.3, 0.4], dtype=torch.float64)
    torch.testing.assert_close(ThreatModel("l2", 0.25).project(far, x), x + torch.tensor([0.15, 0.2]).double())


@pytest.mark.parametrize("norm", NORMS)
def test_eps_zero_is_the_identity(norm: str) -> None:
    x = torch.rand(4, 3, 5, 5)
    threat = ThreatModel(norm, 0.0)
    assert torch.equal(threat.project(torch.rand_like(x), x), x)
    assert torch.equal(threat.start(x, IndexNoise(0, torch.arange(4))), x)
    assert torch.equal(threat.edge(x, IndexNoise(0, torch.arange(4))), x)


def test_linf_start_is_uniform_in_the_ball() -> None:
    x = torch.full((50, 1, 20, 20), 0.5)
    delta = ThreatModel("linf", 0.2).start(x, IndexNoise(0, torch.arange(50))) - x
    assert delta.abs().max() <= 0.2 + 1e-6
    assert delta.mean().abs() < 0.01 and abs(delta.var().item() - 0.4**2 / 12) < 5e-4


@pytest.mark.parametrize("norm", NORMS)
def test_the_edge_is_at_the_radius_in_any_direction(norm: str) -> None:
    x = torch.full((4000, 1, 3, 3), 0.5)
    delta = ThreatModel(norm, 0.3).edge(x, IndexNoise(0, torch.arange(4000))) - x  # type: ignore[arg-type]
    torch.testing.assert_close(size(delta, norm), torch.full((4000,), 0.3))
    assert ((delta > 0).float().mean(dim=0) - 0.5).abs().max() < 0.04
    if norm == "linf":
        # A corner.
        torch.testing.assert_close(delta.abs(), torch.full_like(delta, 0.3))


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_start_has_uniform_radius(norm: str) -> None:
    x = torch.full((4000, 1, 3, 3), 0.5)
    radius = size(ThreatModel(norm, 0.3).start(x, IndexNoise(0, torch.arange(4000))) - x, norm)  # type: ignore[arg-type]
    assert radius.max() <= 0.3 + 1e-6
    assert abs(radius.mean().item() - 0.15) < 0.01


def test_l1_start_is_of_uniform_direction() -> None:
    # Shares of a uniform direction are Dirichlet(1, 1, ...): of n, mean 1/n and variance (n - 1) / n^2 (n + 1).
    x, noise = torch.full((4000, 1, 3, 3), 0.5), IndexNoise(0, torch.arange(4000))
    delta = (ThreatModel("l1", 0.4).start(x, noise) - x).flatten(1)
    shares = delta.abs() / delta.abs().sum(dim=1, keepdim=True)
    assert (shares.mean(dim=0) - 1 / 9).abs().max() < 0.01
    assert (shares.var(dim=0) - 8 / 810).abs().max() < 0.002
    assert ((delta > 0).float().mean(dim=0) - 0.5).abs().max() < 0.04


def test_l1_projection_is_the_nearest_point_of_the_ball() -> None:
    x = torch.full((1, 1, 1, 3), 0.5, dtype=torch.float64)
    far = x + torch.tensor([0.4, -0.3, 0.05], dtype=torch.float64)
    # Shrunk by 0.1, which uses up the third entry: 0.3 + 0.2 = 0.5.
    nearest = x + torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64)
    torch.testing.assert_close(ThreatModel("l1", 0.5).project(far, x), nearest)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-8, 8).map(lambda v: v / 8) | st.floats(-1, 1), min_size=6, max_size=6), st.floats(0, 4))
def test_l1_projection_is_that_of_the_bisection(delta: list[float], eps: float) -> None:
    # In a box that no entry reaches, at a thousandth of the size.
    expected = 1000 * project_l1(np.array(delta) / 1000, np.full(6, 0.5), eps / 1000)
    found = onto_l1_ball(torch.tensor(delta, dtype=torch.float64).view(1, 1, 2, 3), eps)
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=0, atol=1e-9)


def test_steps_have_unit_length_and_are_zero_where_the_gradient_is() -> None:
    gradient = torch.randn(3, 2, 4, 4)
    gradient[1] = 0
    torch.testing.assert_close(size(ThreatModel("l2", 1.0).step(gradient), "l2"), torch.tensor([1.0, 0.0, 1.0]))
    assert torch.equal(ThreatModel("linf", 1.0).step(gradient), gradient.sign())
    steepest = ThreatModel("l1", 1.0).step(gradient)
    assert size(steepest, "l1").tolist() == [1.0, 0.0, 1.0]
    assert torch.equal((steepest * gradient).flatten(1).sum(dim=1), gradient.flatten(1).abs().amax(dim=1))


@pytest.mark.parametrize(
    "text, value", [("8/255", 8 / 255), ("128/255", 128 / 255), ("0.3", 0.3), ("0.8/255", 0.8 / 255), ("0", 0.0)]
)
def test_budgets_are_written_as_people_do_and_read_back(text: str, value: float) -> None:
    assert eps_text(value) == text
    assert parse_eps(text) == pytest.approx(value, rel=1e-12)


def test_pixels_instead_of_fractions_are_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"got 8\. Did you mean 8 / 255\?"):
        ThreatModel("linf", 8)
    for norm, eps, diameter in (("linf", 2, 1.0), ("l2", 128, 55.4), ("l1", 3073, 3072.0)):
        with pytest.raises(ValueError, match=f"{norm} eps must be at most {diameter}, the diameter of .* {eps} / 255"):
            check_fits(norm, eps, (3, 32, 32))  # type: ignore[arg-type]
    check_fits("l1", 3072, (3, 32, 32))
    with pytest.raises(ValueError, match="norm must be one of"):
        ThreatModel("l7", 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 0"):
        ThreatModel("l2", float("nan"))
    with pytest.raises(ValueError, match="fraction such as 8/255"):
        parse_eps("eight")
