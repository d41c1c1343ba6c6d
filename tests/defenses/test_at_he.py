"""AT_HE against a float64 reference written from its equations."""

import math

import pytest
import torch

from advdpnp.attacks.ascent import cross_entropy
from advdpnp.defenses.at_he import ATHE
from advdpnp.models.heads import CosineHead
from defenses.smooth import CLASSES, make, terms_and_logit_gradients
from reference import mart_athe_alp as reference


def test_loss_and_gradient_equal_the_float64_reference() -> None:
    defense = ATHE(scale=7.0, margin=0.3)
    model, batch, x_adv = make(defense)
    terms, (logits,), (gradient,) = terms_and_logit_gradients(defense, model, batch, x_adv)
    arrays = logits.numpy() / 7.0, batch.y.tolist(), 7.0, 0.3
    assert terms == {"he_adversarial": pytest.approx(reference.hypersphere(*arrays), rel=1e-12)}
    expected = torch.from_numpy(reference.hypersphere_gradient(*arrays))
    torch.testing.assert_close(gradient * 7.0, expected, rtol=1e-9, atol=1e-14)


def test_logits_are_scaled_cosines_of_the_angles_to_the_rows() -> None:
    head = CosineHead(2, 3, scale=10.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.5], [-3.0, -3.0]]))
    found = head(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(found[0], torch.tensor([10.0, 0.0, -10 / math.sqrt(2)]))
    assert found[1].abs().sum() == 0
    torch.testing.assert_close(head.class_centers().norm(dim=1), torch.ones(3))


def test_neither_the_length_of_the_embedding_nor_that_of_a_row_changes_a_logit_or_writes_the_weight() -> None:
    head, embedding = CosineHead(7, CLASSES, 10.0), torch.randn(4, 7)
    before = head.weight.detach().clone()
    expected = head(embedding)
    torch.testing.assert_close(head(3 * embedding), expected)
    assert torch.equal(head.weight, before)
    with torch.no_grad():
        head.weight.mul_(5)
    torch.testing.assert_close(head(embedding), expected)
    head.renormalize()
    torch.testing.assert_close(head.weight.norm(dim=1), torch.ones(CLASSES))
    torch.testing.assert_close(head(embedding), expected)


def test_the_margin_is_in_the_loss_of_training_alone() -> None:
    defense = ATHE()
    model, batch, x_adv = make(defense)
    plain = ATHE(margin=0.0).loss(model, batch, x_adv)["he_adversarial"]
    torch.testing.assert_close(plain, cross_entropy(model(x_adv), (batch.y,), ()).mean())
    assert defense.loss(model, batch, x_adv)["he_adversarial"] > plain
    torch.testing.assert_close(defense.objective(model, batch.x, x_adv, batch.y).mean(), plain)


def test_rows_have_length_one_after_every_step() -> None:
    defense = ATHE()
    model, _, _ = make(defense)
    with torch.no_grad():
        model.head.weight.mul_(1.5)
    defense.between_steps(model)
    torch.testing.assert_close(model.head.weight.norm(dim=1), torch.ones(CLASSES, dtype=torch.float64))
    with pytest.raises(ValueError, match="scale must be above 0"):
        ATHE(scale=0.0)
