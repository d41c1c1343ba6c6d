import math
from typing import Any

import numpy as np
import pytest
import torch

from advdpnp import losses
from reference import losses as reference

torch.manual_seed(0)
LOGITS, OTHER = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 3, 4, 0])


def test_uniform_logits_give_log_c() -> None:
    torch.testing.assert_close(losses.cross_entropy(torch.zeros(3, 7), torch.arange(3)), torch.full((3,), math.log(7)))


def test_equal_logits_give_zero_divergence_and_others_more() -> None:
    torch.testing.assert_close(losses.kl_divergence(LOGITS, LOGITS + 3.0), torch.zeros(6).double(), atol=1e-13, rtol=0)
    assert (losses.kl_divergence(LOGITS, OTHER) > 0).all()


def test_losses_equal_the_slow_reference_in_float64() -> None:
    pairs = [
        (losses.cross_entropy(LOGITS, Y), reference.cross_entropy(LOGITS.numpy(), Y.tolist())),
        (losses.kl_divergence(LOGITS, OTHER), reference.kl_divergence(LOGITS.numpy(), OTHER.numpy())),
        (losses.margin(LOGITS, Y), reference.margin(LOGITS.numpy(), Y.tolist())),
    ]
    for found, expected in pairs:
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_margin_is_positive_exactly_where_misclassified() -> None:
    assert torch.equal(losses.margin(LOGITS, Y) > 0, LOGITS.argmax(dim=1) != Y)


@pytest.mark.parametrize("name", ["cross_entropy", "kl_divergence", "margin", "alignment", "repulsion"])
def test_gradients_pass_gradcheck(name: str) -> None:
    z, q = LOGITS.clone().requires_grad_(), OTHER.clone().requires_grad_()
    checks = {
        "cross_entropy": lambda: torch.autograd.gradcheck(lambda a: losses.cross_entropy(a, Y), (z,)),
        "kl_divergence": lambda: torch.autograd.gradcheck(losses.kl_divergence, (z, q)),
        "margin": lambda: torch.autograd.gradcheck(lambda a: losses.margin(a, Y), (z,)),
        "alignment": lambda: torch.autograd.gradcheck(lambda a, c: losses.prototype_alignment(a, c, Y, "mean"), (z, q)),
        "repulsion": lambda: torch.autograd.gradcheck(losses.prototype_repulsion, (z,)),
    }
    assert checks[name]()


def test_half_norm_is_finite_in_value_and_gradient_at_zero() -> None:
    v = torch.zeros(4, requires_grad=True)
    losses.half_norm(v).backward()
    assert v.grad is not None and torch.equal(v.grad, torch.zeros(4))


def test_half_norm_is_the_sum_of_square_roots_away_from_zero() -> None:
    v = torch.tensor([4.0, -9.0, 16.0], dtype=torch.float64)
    assert losses.half_norm(v).item() == pytest.approx(2 + 3 + 4, rel=1e-6)


@pytest.mark.parametrize("metric", ["l2", "l_half"])
def test_rivals_are_the_nearest_others(metric: str) -> None:
    prototypes = torch.randn(8, 6, dtype=torch.float64)
    for j, rival in enumerate(losses.nearest_rival(prototypes, metric).tolist()):

        def distance(k: int, j: int = j) -> float:
            v = prototypes[j] - prototypes[k]
            return v.norm().item() if metric == "l2" else losses.half_norm(v).item()

        assert rival == min((k for k in range(8) if k != j), key=distance)


def test_equally_near_rivals_go_to_the_lowest_index_and_never_to_oneself() -> None:
    assert losses.nearest_rival(torch.eye(4)).tolist() == [1, 0, 0, 0]
    assert losses.nearest_rival(torch.zeros(3, 2)).tolist() == [1, 0, 0]


def test_rivals_far_from_the_origin_are_told_apart() -> None:
    # Squared norms of 1e6 and distances of 0.1 to 1: the products of fp32 are off by as much as 0.1.
    gaps = torch.tensor([0.0, 0.5, 0.8, 1.8, 1.9])
    prototypes = torch.zeros(5, 3)
    prototypes[:, 0], prototypes[:, 1] = 1000.0, gaps
    assert losses.nearest_rival(prototypes).tolist() == [1, 2, 1, 4, 3]


def test_nan_prototypes_give_a_nan_loss_and_no_index_out_of_range() -> None:
    prototypes = torch.full((4, 3), float("nan"))
    assert losses.nearest_rival(prototypes).max() < 4
    assert losses.prototype_repulsion(prototypes).isnan()


def test_repulsion_gives_equal_prototypes_no_force() -> None:
    prototypes = torch.ones(2, 5, requires_grad=True)
    losses.prototype_repulsion(prototypes).backward()
    assert prototypes.grad is not None and torch.equal(prototypes.grad, torch.zeros(2, 5))


def test_detached_rivals_halve_the_force_between_two_prototypes() -> None:
    prototypes = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    (live,) = torch.autograd.grad(losses.prototype_repulsion(prototypes), prototypes)
    (detached,) = torch.autograd.grad(losses.prototype_repulsion(prototypes, live_rivals=False), prototypes)
    torch.testing.assert_close(live, 2 * detached)


def test_low_precision_is_raised_and_float64_kept() -> None:
    assert losses.cross_entropy(LOGITS.bfloat16(), Y).dtype == torch.float32
    assert losses.cross_entropy(LOGITS, Y).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("metric", ["l2", "l_half"])
def test_prototype_losses_of_half_prototypes_are_those_of_their_values_in_fp32(
    dtype: torch.dtype, metric: losses.Metric
) -> None:
    # In fp16 the smoothing, squared, is no normal number, and a sum of squares overflows at 65504.
    prototypes = (200 * torch.randn(5, 16, generator=torch.Generator().manual_seed(0))).to(dtype)
    exact = prototypes.double()
    assert torch.equal(losses.nearest_rival(prototypes, metric), losses.nearest_rival(exact, metric))
    repulsion = losses.prototype_repulsion(prototypes, metric)
    assert repulsion.dtype == torch.float32
    torch.testing.assert_close(repulsion.double(), losses.prototype_repulsion(exact, metric), rtol=1e-6, atol=0)
    y = torch.arange(5).flip(0)
    pull = losses.prototype_alignment(prototypes, prototypes, y, "sum")
    torch.testing.assert_close(pull.double(), losses.prototype_alignment(exact, exact, y, "sum"), rtol=1e-6, atol=0)


def test_half_norm_of_zero_in_half_precision_is_the_smoothing() -> None:
    """sum (0 + 1e-6)^(1/4) over 4 coordinates."""
    for dtype in (torch.float16, torch.bfloat16):
        assert losses.half_norm(torch.zeros(4, dtype=dtype)).item() == pytest.approx(4 * 1e-3**0.5, rel=1e-6)


@pytest.mark.parametrize("word", ["Sum", "L2", "", None, "mean "])
def test_an_unknown_reduction_or_metric_is_refused_with_the_known_ones(word: Any) -> None:
    prototypes, y = torch.rand(3, 4), torch.arange(3)
    with pytest.raises(ValueError, match=r"^reduction must be one of sum, mean; got "):
        losses.prototype_alignment(prototypes, prototypes, y, word)
    for loss in (losses.nearest_rival, losses.prototype_repulsion):
        with pytest.raises(ValueError, match=r"^metric must be one of l2, l_half; got "):
            loss(prototypes, word)
