import pytest
import torch
from torch import Tensor

from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy, kl_divergence
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel
from attacks.linear import two_classes

X = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
NOISE = IndexNoise(0, torch.arange(4))


def budget(steps: int = 5, start: str = "uniform") -> Budget:
    return Budget(ThreatModel("linf", 0.1), steps, 0.03, start)  # type: ignore[arg-type]


def scaled(output: Tensor, reference: tuple[Tensor, ...], row: tuple[Tensor, ...]) -> Tensor:
    return row[0] * cross_entropy(output, reference, row)


def test_row_i_of_per_step_reaches_iteration_i() -> None:
    seen = []

    def loss(output: Tensor, reference: tuple[Tensor, ...], row: tuple[Tensor, ...]) -> Tensor:
        seen.append(row[0].item())
        return output.sum(dim=1)

    ascend(two_classes(16), loss, X, (), (torch.tensor([7.0, 8.0, 9.0]),), budget=budget(3), noise=NOISE)
    assert seen == [7.0, 8.0, 9.0]


@pytest.mark.parametrize("fast", [False, True])
def test_rows_for_fewer_iterations_are_refused_and_those_for_more_left_alone(fast: bool) -> None:
    engine = CompiledAscent(X.shape, compiler=lambda function: function) if fast else ascend
    given = two_classes(16), scaled, X, (torch.zeros(4, dtype=torch.int64),)
    three = engine(*given, (torch.tensor([1.0, 2.0, -1.0]),), budget=budget(3), noise=NOISE)
    four = engine(*given, (torch.tensor([1.0, 2.0, -1.0, 5.0]),), budget=budget(3), noise=NOISE)
    assert torch.equal(three, four)
    with pytest.raises(ValueError, match="an attack of 3 steps needs as many rows per step; got 2: set fewer steps"):
        engine(*given, (torch.tensor([1.0, 2.0]),), budget=budget(3), noise=NOISE)


def test_scheduled_radius_and_step_may_be_tensors() -> None:
    fixed = budget()
    scheduled = Budget(ThreatModel("linf", torch.tensor(0.1).double()), 5, torch.tensor(0.03).double(), "uniform")
    results = [
        ascend(two_classes(16), cross_entropy, X, (torch.zeros(4, dtype=torch.int64),), budget=b, noise=NOISE)
        for b in (fixed, scheduled)
    ]
    torch.testing.assert_close(*results)


def test_starts_are_at_the_image_in_the_ball_or_close_by() -> None:
    assert torch.equal(budget(start="none").begin(X, NOISE), X)
    assert (budget(start="uniform").begin(X, NOISE) - X).abs().max() <= 0.1 + 1e-9
    close = budget(start="normal").begin(X, NOISE) - X
    assert 0 < close.abs().max() < 0.006 and abs(close.std().item() - 0.001) < 3e-4


def test_kl_ascent_leaves_equal_predictions_only_where_the_start_did() -> None:
    model = two_classes(16)
    clean = model(X).detach()
    x_adv = ascend(model, kl_divergence, X, (clean,), budget=budget(start="normal"), noise=NOISE)
    assert (kl_divergence(model(x_adv), (clean,), ()) > kl_divergence(model(X), (clean,), ()) + 1e-4).all()


def test_the_result_is_detached_and_parameters_get_no_gradient() -> None:
    model = two_classes(16)
    x_adv = ascend(model, cross_entropy, X, (torch.zeros(4, dtype=torch.int64),), budget=budget(), noise=NOISE)
    assert not x_adv.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_impossible_budgets_are_refused() -> None:
    with pytest.raises(ValueError, match="start must be one of none, uniform, normal"):
        budget(start="somewhere")
    with pytest.raises(ValueError, match="steps must be at least 1"):
        budget(steps=0)
