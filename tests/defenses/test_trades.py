"""TRADES against a float64 reference, with its target live; AT and ST against plain cross-entropy."""

import numpy as np
import pytest
import torch

from advdpnp.defenses import AT, ST, TRADES
from defenses.smooth import CLASSES, IMAGES, make, terms_and_logit_gradients
from reference import losses as reference
from reference.mart_athe_alp import softmax


def test_terms_and_gradients_equal_the_float64_reference() -> None:
    defense = TRADES(beta=3.0)
    model, batch, x_adv = make(defense)
    terms, (clean, adversarial), gradients = terms_and_logit_gradients(defense, model, batch, x_adv)
    y = batch.y.tolist()
    assert sum(terms.values()) == pytest.approx(reference.trades(clean.numpy(), adversarial.numpy(), y, 3.0), rel=1e-12)
    expected = np.zeros((2, IMAGES, CLASSES))
    for i, label in enumerate(y):
        p, q = softmax(clean[i].numpy()), softmax(adversarial[i].numpy())
        by_p = np.log(p) - np.log(q) + 1
        # Cross-entropy, and the KL through its target, which a detached one would not have.
        expected[0, i] = p - np.eye(CLASSES)[label] + 3.0 * p * (by_p - p @ by_p)
        expected[1, i] = 3.0 * (q - p)
    for found, wanted in zip(gradients, expected / IMAGES, strict=True):
        torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("defense", [AT(), ST()], ids=["at", "st"])
def test_one_branch_is_plain_cross_entropy(defense: AT | ST) -> None:
    model, batch, x_adv = make(defense)
    terms, (logits,), (gradient,) = terms_and_logit_gradients(defense, model, batch, x_adv)
    seen = x_adv if defense.crafts else batch.x
    torch.testing.assert_close(logits, model(seen).detach(), rtol=1e-12, atol=0)
    y = batch.y.tolist()
    assert sum(terms.values()) == pytest.approx(float(np.mean(reference.cross_entropy(logits.numpy(), y))), rel=1e-12)
    expected = np.array([softmax(z) - np.eye(CLASSES)[label] for z, label in zip(logits.numpy(), y, strict=True)])
    torch.testing.assert_close(gradient, torch.from_numpy(expected / IMAGES), rtol=1e-9, atol=1e-14)
