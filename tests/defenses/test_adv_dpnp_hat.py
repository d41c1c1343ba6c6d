"""Adv-DPNP with HAT's helper term: the one is unchanged, the other is HAT's, and it moves no prototype."""

from typing import Any

import pytest
import torch
from torch import Tensor

from advdpnp.defenses import ST, AdvDPNP, AdvDPNPHAT, Batch
from defenses.smooth import CLASSES, Smooth, make
from reference import hat as reference


def helped(**fields: Any) -> tuple[AdvDPNPHAT, Any, Batch, Tensor]:
    """The method, its network with a helper of other weights, a batch and adversarial images."""
    defense = AdvDPNPHAT(**fields)
    model, batch, x_adv = make(defense)
    torch.manual_seed(17)
    defense.install(model, ST().build(Smooth(), CLASSES).double().state_dict())
    return defense, model, batch, x_adv


def test_the_terms_of_adv_dpnp_are_unchanged() -> None:
    defense, model, batch, x_adv = helped(lambda_dfa=1.5)
    terms = defense.loss(model, batch, x_adv)
    expected = AdvDPNP(lambda_dfa=1.5).loss(model, batch, x_adv)
    assert list(terms) == [*expected, "ce_helper"]
    assert all(torch.equal(terms[name], expected[name]) for name in expected)


def test_the_helper_term_is_that_of_hat_on_the_logits_of_the_prototypes() -> None:
    defense, model, batch, x_adv = helped(gamma=0.7, h=2.5)
    x_h = torch.from_numpy(reference.helper_example(batch.x.numpy(), x_adv.numpy(), 2.5))
    prototypes = model.head.prototypes.detach()
    logits = (torch.tanh(model.backbone.map(x_h.flatten(1))) @ prototypes.T / 40.0).detach().numpy()
    y_h = model.helper.network(x_adv).argmax(dim=1).tolist()
    assert len(set(y_h)) > 1 and y_h != batch.y.tolist()
    *_, expected = reference.hat(logits, logits, logits, batch.y.tolist(), y_h, 1.0, 0.7)
    assert defense.loss(model, batch, x_adv)["ce_helper"].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("prototype_gradient", ["clean", "both"])
def test_helper_examples_move_the_prototypes_only_where_adversarial_images_may(prototype_gradient: str) -> None:
    defense, model, batch, x_adv = helped(prototype_gradient=prototype_gradient)
    defense.loss(model, batch, x_adv)["ce_helper"].backward()
    assert model.backbone.map.weight.grad.abs().max() > 0
    moved = model.head.prototypes.grad is not None and bool(model.head.prototypes.grad.abs().max() > 0)
    assert moved == (prototype_gradient == "both")
    assert all(parameter.grad is None for parameter in model.helper.parameters())


def test_the_objective_is_that_of_adv_dpnp_and_the_helper_term_per_image() -> None:
    defense, model, batch, x_adv = helped()
    found = defense.objective(model, batch.x, x_adv, batch.y)
    without = AdvDPNP().objective(model, batch.x, x_adv, batch.y)
    expected = defense.loss(model, batch, x_adv)["ce_helper"]
    torch.testing.assert_close((found - without).mean(), expected, rtol=1e-12, atol=0)


def test_the_helper_has_the_backbones_own_embedding_and_the_prototypes_the_one_that_was_asked_for() -> None:
    _, model, *_ = helped(embedding="linear(3)")
    assert model.head.prototypes.shape == (CLASSES, 3)
    assert model.helper.network.head.linear.weight.shape == (CLASSES, Smooth().features)
