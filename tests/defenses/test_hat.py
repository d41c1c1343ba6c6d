"""HAT against a float64 reference, and what its helper may and may not do."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp.api import make_task
from advdpnp.attacks.projected_ascent import cross_entropy as ce_ascent
from advdpnp.attacks.projected_ascent import kl_divergence as kl_ascent
from advdpnp.defenses import AT, HAT, ST, TRADES, Batch
from advdpnp.models.classifier import Helper
from advdpnp.models.folding import fold_batchnorm, refold, unfolded
from advdpnp.training.step import Training
from defenses.smooth import CLASSES, Smooth, make, terms_and_logit_gradients
from reference import hat as reference
from training.small import small_experiment, small_task


def helped() -> tuple[Any, Batch, Tensor]:
    """Network with a helper of other weights than its own, batch and adversarial images."""
    model, batch, x_adv = make(HAT())
    torch.manual_seed(17)
    HAT().install(model, ST().build(Smooth(), CLASSES).double().state_dict())
    return model, batch, x_adv


def inputs_of_forwards(defense: HAT, model: Any, batch: Batch, x_adv: Tensor) -> list[tuple[str, Tensor, bool]]:
    """Who reads which images in the loss, in which order, and whether in training mode."""
    seen: list[tuple[str, Tensor, bool]] = []

    def keep(name: str) -> Any:
        return lambda module, inputs: seen.append((name, inputs[0].detach().clone(), module.training))

    handles = [
        model.backbone.register_forward_pre_hook(keep("model")),
        model.helper.network.register_forward_pre_hook(keep("helper")),
    ]
    model.train()
    defense.loss(model, batch, x_adv)
    for handle in handles:
        handle.remove()
    return seen


def test_terms_and_gradients_equal_the_float64_reference() -> None:
    defense = HAT(beta=3.0, gamma=0.7, h=2.5)
    model, batch, x_adv = helped()
    x_h = torch.from_numpy(reference.helper_example(batch.x.numpy(), x_adv.numpy(), 2.5))
    y_h = model.helper(x_adv).argmax(dim=1).tolist()
    terms, logits, gradients = terms_and_logit_gradients(defense, model, batch, x_adv)
    torch.testing.assert_close(logits[2], model(x_h).detach(), rtol=1e-12, atol=1e-12)
    arrays = [values.numpy() for values in logits]
    assert len(set(y_h)) > 1 and y_h != batch.y.tolist()
    assert list(terms) == ["ce_clean", "kl", "ce_helper"]
    weights = batch.y.tolist(), y_h, 3.0, 0.7
    assert list(terms.values()) == pytest.approx(reference.hat(*arrays, *weights), rel=1e-12)
    for found, expected in zip(gradients, reference.hat_gradients(*arrays, *weights), strict=True):
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-14)


def test_clean_adversarial_and_helper_images_go_through_alone_in_this_order_unclamped() -> None:
    model, batch, x_adv = helped()
    x_adv = batch.x.round()
    seen = inputs_of_forwards(HAT(), model, batch, x_adv)
    by_model = [x for name, x, training in seen if name == "model" and training]
    x_h = 2 * x_adv - batch.x
    assert x_h.min() < 0 and x_h.max() > 1
    assert len(by_model) == 3
    for found, expected in zip(by_model, (batch.x, x_adv, x_h), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_the_label_is_the_helpers_on_the_adversarial_image_in_eval_mode() -> None:
    model, batch, x_adv = helped()
    seen = [(x, training) for name, x, training in inputs_of_forwards(HAT(), model, batch, x_adv) if name == "helper"]
    assert len(seen) == 1 and torch.equal(seen[0][0], x_adv) and not seen[0][1]
    labels = []
    for x in (batch.x, x_adv, 2 * x_adv - batch.x):
        labels.append(model.helper(x).argmax(dim=1))
    # The three differ in this example, so that the reference test tells them apart.
    assert not torch.equal(labels[0], labels[1]) and not torch.equal(labels[2], labels[1])


def test_no_gradient_reaches_the_helper_or_passes_through_its_label() -> None:
    model, batch, x_adv = helped()
    x_adv = x_adv.clone().requires_grad_()
    terms = HAT().loss(model, batch, x_adv)
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is None for parameter in model.helper.parameters())
    # With h = 0 the helper example is x itself, and only the label depends on x'.
    (gradient,) = torch.autograd.grad(HAT(h=0.0).loss(model, batch, x_adv)["ce_helper"], x_adv, allow_unused=True)
    assert gradient is None or not gradient.any()
    (gradient,) = torch.autograd.grad(HAT().loss(model, batch, x_adv)["ce_helper"], x_adv)
    assert gradient.abs().sum(dim=(1, 2, 3)).min() > 0


def test_the_target_of_the_kl_is_live() -> None:
    model, batch, x_adv = helped()
    logits: list[Tensor] = []
    handle = model.head.register_forward_hook(lambda *hook: logits.append(hook[2]))
    terms = HAT().loss(model, batch, x_adv)
    handle.remove()
    for gradient in torch.autograd.grad(terms["kl"], logits[:2]):
        assert gradient.abs().sum(dim=1).min() > 0


def test_without_helper_examples_it_is_trades_and_with_ce_crafted_as_at() -> None:
    model, batch, x_adv = helped()
    terms, trades = HAT(gamma=0.0, beta=6.0).loss(model, batch, x_adv), TRADES().loss(model, batch, x_adv)
    assert torch.equal(terms["ce_clean"], trades["ce_clean"]) and torch.equal(terms["kl"], trades["kl"])
    variant = HAT(adversarial_loss="ce", beta=1.0)
    terms = variant.loss(model, batch, x_adv)
    assert list(terms) == ["ce_clean", "ce_adversarial", "ce_helper"]
    assert torch.equal(terms["ce_adversarial"], AT().loss(model, batch, x_adv)["ce_adversarial"])
    crafted_on: list[Any] = []

    def ascend(forward: Any, loss: Any, x: Tensor, reference: Any, per_step: Any = ()) -> Tensor:
        crafted_on.append(loss)
        return x

    for defense in (HAT(), variant):
        defense.perturb(model, batch, ascend)
    assert crafted_on == [kl_ascent, ce_ascent]


def test_the_objective_has_the_terms_that_the_attacker_moves() -> None:
    for defense in (HAT(), HAT(adversarial_loss="ce")):
        model, batch, x_adv = helped()
        terms = list(defense.loss(model, batch, x_adv).values())
        found = defense.objective(model, batch.x, x_adv, batch.y)
        assert found.shape == batch.y.shape
        torch.testing.assert_close(found.mean(), terms[1] + terms[2])


def test_the_helper_is_bitwise_unchanged_by_training_and_always_in_eval_mode() -> None:
    task = small_task("hat", "recipe.weight_decay=0.1")
    before = {name: value.clone() for name, value in task.model.helper.state_dict().items()}
    training = Training(task)
    task.model.train()
    for _ in range(3):
        training.advance(torch.arange(96))
    assert all(torch.equal(value, before[name]) for name, value in task.model.helper.state_dict().items())
    assert not any(module.training for module in task.model.helper.modules())
    held = {id(parameter) for group in training.optimizer.param_groups for parameter in group["params"]}
    assert not held & {id(parameter) for parameter in task.model.helper.parameters()}


def test_the_classifier_ignores_its_helper() -> None:
    model, batch, _ = helped()
    before = model(batch.x), model.embed(batch.x)
    with torch.no_grad():
        for parameter in model.helper.parameters():
            parameter.fill_(torch.nan)
    assert torch.equal(model(batch.x), before[0]) and torch.equal(model.embed(batch.x), before[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_frozen_copy_shares_the_helper_and_leaves_it_as_it_is(dtype: torch.dtype) -> None:
    model = small_task("hat").model.train()
    before = copy.deepcopy(model.state_dict())
    x = torch.rand(4, 1, 8, 8)
    answer = model.helper(x)
    frozen = fold_batchnorm(model, dtype)
    assert frozen.helper is model.helper and unfolded(frozen) == []
    assert not any(module._forward_pre_hooks for module in model.helper.modules())
    with torch.no_grad():
        model.head.linear.bias.add_(1.0)
    refold(frozen, model)
    torch.testing.assert_close(frozen(x), copy.deepcopy(model).eval()(x), rtol=0.05, atol=0.05)
    assert torch.equal(model.helper(x), answer)
    assert set(before) == set(model.state_dict())
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.helper.modules())


def test_a_helper_without_trained_weights_is_refused_until_it_has_some() -> None:
    task = make_task(small_experiment("hat"), torch.device("cpu"))
    training = Training(task)
    task.model.train()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    cure = r"^the helper network has no trained weights: .*advdpnp\.train, or call defense\.install\(model, weights\)"
    with pytest.raises(ValueError, match=cure) as refused:
        training.advance(torch.arange(96))
    assert "\n" not in str(refused.value)
    # Nothing was learned from it, and what never asks the helper works as ever.
    assert all(torch.equal(value, before[name]) for name, value in task.model.named_parameters())
    assert task.model.eval()(task.train.batch(torch.arange(4))[0]).shape == (4, 10)
    with pytest.raises(ValueError, match=cure):
        copy.deepcopy(task.model).helper(torch.rand(1, 1, 8, 8))
    task.defense.install(task.model, small_task("st").model.state_dict())
    training.advance(torch.arange(96))


def test_stored_weights_bring_their_helper_with_them() -> None:
    stored = small_task("hat").model.state_dict()
    model = small_experiment("hat").build()
    again = copy.deepcopy(model)
    assert not any("trained" in name for name in stored)
    model.load_state_dict(stored)
    assert model.helper(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    # A copy of a network has a helper of its own.
    with pytest.raises(ValueError, match="no trained weights"):
        again.helper(torch.rand(2, 1, 8, 8))
    again.helper.network.load_state_dict(model.helper.network.state_dict())
    assert again.helper(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_helper_that_somebody_trained_needs_no_installation() -> None:
    assert Helper(ST().build(Smooth(), CLASSES))(torch.rand(1, 3, 2, 2)).shape == (1, CLASSES)


def test_the_network_and_its_helper_begin_with_one_architecture() -> None:
    model = small_task("hat").model
    assert set(model.helper.network.state_dict()) == set(small_task("st").model.state_dict())
    with pytest.raises(TypeError, match="at needs no other network"):
        AT().install(small_task("at").model, {})


def test_an_unknown_adversarial_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="adversarial_loss must be one of kl, ce; got 'mse'"):
        HAT(adversarial_loss="mse")  # type: ignore[arg-type]
