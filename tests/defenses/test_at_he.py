"""AT_HE against a float64 reference written from its equations."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.attacks.projected_ascent import cross_entropy
from advdpnp.defenses.at_he import ATHE
from advdpnp.metrics import scr
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


def test_gradient_of_the_rows_equals_the_reference_with_their_lengths_held_fixed() -> None:
    defense = ATHE(scale=7.0, margin=0.3)
    model, batch, x_adv = make(defense)
    lengths = torch.arange(1.0, CLASSES + 1, dtype=torch.float64)[:, None]
    with torch.no_grad():
        model.head.weight.mul_(lengths)
    defense.loss(model, batch, x_adv)["he_adversarial"].backward()
    features, rows = model.backbone(x_adv).detach().numpy(), model.head.weight.detach().numpy()
    expected = torch.from_numpy(reference.hypersphere_row_gradient(features, rows, batch.y.tolist(), 7.0, 0.3))
    torch.testing.assert_close(model.head.weight.grad, expected, rtol=1e-9, atol=1e-14)
    # With the lengths in the graph, no gradient would be along a row.
    assert ((model.head.weight.grad * model.head.weight).sum(dim=1).abs() > 1e-3).all()


def released_steps(weight: Tensor, features: Tensor, y: Tensor, steps: int) -> Tensor:
    """Rows after SGD steps written as the authors' code is: the forward overwrites the weight's data."""
    weight = weight.clone().requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(steps):
        weight.data = functional.normalize(weight.data, dim=1)
        cosines = functional.normalize(features, dim=1) @ weight.T
        shifted = cosines - 0.2 * functional.one_hot(y, len(weight)).double()
        optimizer.zero_grad()
        functional.cross_entropy(10.0 * shifted, y).backward()
        optimizer.step()
    return functional.normalize(weight.data, dim=1)


def test_rows_turn_as_in_the_released_code() -> None:
    defense = ATHE()
    model, batch, x_adv = make(defense)
    model.backbone.requires_grad_(False)
    expected = released_steps(model.head.weight.detach(), model.backbone(x_adv), batch.y, steps=30)
    optimizer = torch.optim.SGD([model.head.weight], lr=0.1, momentum=0.9, weight_decay=5e-4)
    for _ in range(30):
        optimizer.zero_grad()
        defense.loss(model, batch, x_adv)["he_adversarial"].backward()
        optimizer.step()
        defense.between_steps(model)
    torch.testing.assert_close(model.head.weight.detach(), expected, rtol=1e-9, atol=1e-12)


def test_embeddings_stand_among_the_rows_at_length_one_so_their_unit_changes_no_scr() -> None:
    model, batch, _ = make(ATHE())
    embedding, logits = model.embed(batch.x), model(batch.x)
    raw = model.backbone(batch.x)
    torch.testing.assert_close(embedding, raw / raw.square().sum(dim=1, keepdim=True).sqrt())
    found = scr(embedding.detach(), batch.y, model.class_centers())
    model.backbone.register_forward_hook(lambda _module, _inputs, output: 10 * output)
    torch.testing.assert_close(model(batch.x), logits)
    torch.testing.assert_close(model.head(model.embed(batch.x)), logits)
    assert scr(model.embed(batch.x).detach(), batch.y, model.class_centers()) == pytest.approx(found, rel=1e-12)


def test_logits_are_scaled_cosines_of_the_angles_to_the_rows() -> None:
    head = CosineHead(2, 3, scale=10.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.5], [-3.0, -3.0]]))
    found = head(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
    torch.testing.assert_close(found[0], torch.tensor([10.0, 0.0, -10 / math.sqrt(2)]))
    assert found[1].abs().sum() == 0
    with torch.no_grad():
        head.weight[0] = 0
        assert torch.equal(head(torch.ones(1, 2))[:, 0], torch.zeros(1))
        head.weight[0, 0] = 2
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
