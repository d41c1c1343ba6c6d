"""ALP against a float64 reference written from its definition."""

import pytest
import torch

from advdpnp.defenses.alp import ALP
from defenses.smooth import make, terms_and_logit_gradients
from reference import mart_athe_alp as reference


def test_terms_and_gradients_equal_the_float64_reference() -> None:
    defense = ALP(beta=0.7)
    model, batch, x_adv = make(defense)
    terms, (clean, adversarial), gradients = terms_and_logit_gradients(defense, model, batch, x_adv)
    arrays = clean.numpy(), adversarial.numpy(), batch.y.tolist(), 0.7
    assert list(terms) == ["ce_clean", "ce_adversarial", "pairing"]
    assert list(terms.values()) == pytest.approx(reference.alp(*arrays), rel=1e-12)
    for found, expected in zip(gradients, reference.alp_gradients(*arrays), strict=True):
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-14)


def test_equal_images_leave_plain_cross_entropy() -> None:
    defense = ALP()
    model, batch, _ = make(defense)
    terms = defense.loss(model, batch, batch.x)
    assert terms["pairing"] == 0
    torch.testing.assert_close(sum(terms.values()), batch.cross_entropy(model(batch.x)).mean())
