"""MART against a float64 reference written from its equations."""

import pytest
import torch

from advdpnp.defenses.mart import MART, rival_penalty, weighted_consistency
from defenses.smooth import make, terms_and_logit_gradients
from reference import mart_athe_alp as reference


def test_terms_and_gradients_equal_the_float64_reference() -> None:
    defense = MART(beta=3.0)
    model, batch, x_adv = make(defense)
    terms, (clean, adversarial), gradients = terms_and_logit_gradients(defense, model, batch, x_adv)
    arrays = clean.numpy(), adversarial.numpy(), batch.y.tolist(), 3.0
    assert list(terms) == ["ce_adversarial", "rival", "kl"]
    assert list(terms.values()) == pytest.approx(reference.mart(*arrays), rel=1e-12)
    for found, expected in zip(gradients, reference.mart_gradients(*arrays), strict=True):
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-14)


def test_the_consistency_has_live_gradients_through_target_and_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, adversarial = (torch.randn(6, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    clean, adversarial, y = clean.requires_grad_(), adversarial.requires_grad_(), torch.arange(6) % 4
    assert torch.autograd.gradcheck(lambda a, b: weighted_consistency(a, b, y), (clean, adversarial))
    weighted_consistency(clean, adversarial, y).sum().backward()
    assert clean.grad is not None and clean.grad.abs().sum(1).min() > 0
    assert adversarial.grad is not None and adversarial.grad.abs().sum(1).min() > 0


def test_the_rival_is_the_most_probable_wrong_class_right_or_wrong() -> None:
    z = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]], dtype=torch.float64)
    q = torch.softmax(z[0], 0)
    found = rival_penalty(z, torch.tensor([0, 2]))
    torch.testing.assert_close(found, -torch.log(1.0001 + 1e-12 - torch.stack([q[2], q[0]])))


def test_a_certain_wrong_answer_stays_finite_in_every_precision() -> None:
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        z = torch.tensor([[200.0, -200.0, 0.0]], dtype=dtype, requires_grad=True)
        y = torch.tensor([1])
        total = rival_penalty(z, y).sum() + weighted_consistency(z, -z, y).sum()
        total.backward()
        assert total.dtype == torch.promote_types(dtype, torch.float32)
        assert torch.isfinite(total) and z.grad is not None and torch.isfinite(z.grad).all()
    assert rival_penalty(z, y).item() == pytest.approx(9.2103, abs=1e-3)
