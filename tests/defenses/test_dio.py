"""DIO against a float64 reference with loops over pairs of heads, and what its attack and its evaluation see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from advdpnp.attacks.projected_ascent import Budget, ascend
from advdpnp.defenses import DIO, Batch
from advdpnp.defenses.dio import (
    MultiHeadClassifier,
    margin_shortfall,
    mean_cross_entropy,
    mean_where,
    one_head,
    orthogonality,
)
from advdpnp.experiments import experiment
from advdpnp.models.heads import MultiHead
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel
from advdpnp.training.step import Training, make_batch
from defenses.smooth import CLASSES, IMAGES, WIDTH, Smooth, make
from reference import dio as reference
from training.small import small_task

HEADS = 4


def many_headed(defense: DIO) -> tuple[Any, Batch, Tensor]:
    """A network some of whose heads are right about some images, by margins on both sides of tau."""
    model, batch, x_adv = make(defense)
    with torch.no_grad():
        # Rows of very different length: the rival by ratio is not always the one by difference.
        model.head.weight.mul_(torch.linspace(0.5, 4, CLASSES, dtype=torch.float64)[:, None])
    return model, batch, x_adv


def test_terms_and_gradients_equal_the_float64_reference() -> None:
    defense = DIO(heads=HEADS, alpha=0.3, beta=0.7, tau=0.25)
    model, batch, x_adv = many_headed(defense)
    features: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        features.append(output)

    model.backbone.register_forward_hook(keep)
    terms = defense.loss(model, batch, x_adv)
    torch.stack(list(terms.values())).sum().backward()
    (feature,) = features
    arrays = feature.detach().numpy(), model.head.weight.detach().numpy(), batch.y.tolist(), 0.3, 0.7, 0.25
    z = reference.all_logits(*arrays[:2])
    right = np.array([(head.argmax(axis=1) == batch.y.numpy()) for head in z])
    short = [reference.nearest(z[h][i], arrays[1][h], arrays[2][i])[0] < 0.25 for h, i in np.argwhere(right)]
    # The example has what tells the cases apart.
    assert 0 < right.sum() < right.size and any(short) and not all(short)
    assert list(terms) == ["ce_adversarial", "orthogonality", "margin"]
    assert [value.item() for value in terms.values()] == pytest.approx(reference.dio(*arrays), rel=1e-12)
    on_features, on_heads = reference.dio_gradients(*arrays)
    torch.testing.assert_close(feature.grad, torch.from_numpy(on_features), rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(model.head.weight.grad, torch.from_numpy(on_heads), rtol=1e-9, atol=1e-14)


def test_gradients_equal_finite_differences() -> None:
    torch.manual_seed(5)
    embedding = torch.randn(6, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, CLASSES, WIDTH, dtype=torch.float64, requires_grad=True)
    y = torch.arange(6) % CLASSES

    def total(f: Tensor, w: Tensor) -> Tensor:
        logits = torch.einsum("bd,lcd->blc", f, w)
        shortfall, right = margin_shortfall(logits, y, w, 3.0)
        return mean_cross_entropy(logits, y).mean() + orthogonality(w) + mean_where(shortfall, right).sum()

    assert torch.autograd.gradcheck(total, (embedding, weight))


def test_the_rival_is_the_nearest_by_distance_over_the_length_of_its_row() -> None:
    # z_0 = 3. Class 1: |3 - 1| / 4 = 0.5; class 2: |3 - 2| / 1 = 1, although its logit is nearer.
    logits, weight = torch.tensor([[[3.0, 1.0, 2.0]]]), torch.tensor([[[9.0, 0.0], [0.0, 4.0], [0.6, 0.8]]])
    shortfall, right = margin_shortfall(logits, torch.tensor([0]), weight, 0.75)
    assert right.tolist() == [[True]] and shortfall.item() == pytest.approx(0.25)
    assert margin_shortfall(logits, torch.tensor([0]), weight, 0.5)[0].item() == 0
    # The row of the label itself plays no part.
    weight[0, 0] = 0
    assert margin_shortfall(logits, torch.tensor([0]), weight, 0.75)[0].item() == pytest.approx(0.25)


def test_a_head_without_a_right_image_adds_nothing_and_each_other_has_its_own_mean() -> None:
    values = torch.tensor([[1.0, 5.0, 7.0], [2.0, 4.0, 9.0]], requires_grad=True)
    counted = torch.tensor([[True, False, True], [True, False, False]])
    found = mean_where(values, counted)
    assert found.tolist() == [1.5, 0.0, 7.0]
    (gradient,) = torch.autograd.grad(found.sum(), values)
    assert gradient.tolist() == [[0.5, 0.0, 1.0], [0.5, 0.0, 0.0]]


def test_orthogonality_is_that_of_whole_heads_each_pair_once() -> None:
    weight = torch.zeros(3, 2, 2)
    weight[0] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # Row by row not orthogonal to the first head, as a whole it is.
    weight[1] = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    weight[2] = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    # <W0, W1> = 0, <W0, W2> = 3, <W1, W2> = 1.
    assert orthogonality(weight).item() == 10.0
    assert orthogonality(weight[:1]).item() == 0.0


def test_orthogonality_is_not_rounded_by_autocast() -> None:
    weight = torch.randn(3, CLASSES, WIDTH)
    with torch.autocast("cpu", torch.bfloat16):
        found = orthogonality(weight)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(reference.orthogonality(weight.double().numpy()), rel=1e-6)


def test_nothing_but_adversarial_images_is_seen_and_everything_is_live() -> None:
    defense = DIO(heads=HEADS, tau=3.0)
    model, batch, x_adv = many_headed(defense)
    seen: list[Tensor] = []
    model.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    terms = defense.loss(model, batch, x_adv)
    assert len(seen) == 1 and seen[0] is x_adv
    reached = {
        name: [g is not None for g in torch.autograd.grad(
            term, (model.head.weight, model.backbone.map.weight), retain_graph=True, allow_unused=True
        )]
        for name, term in terms.items()
    }  # fmt: skip
    assert reached == {"ce_adversarial": [True, True], "orthogonality": [True, False], "margin": [True, True]}


def test_the_logits_are_the_mean_of_the_heads_and_one_linear_map() -> None:
    model, batch, _ = many_headed(DIO(heads=HEADS))
    embedding = model.embed(batch.x)
    by_head = [embedding @ model.head.weight[i].T for i in range(HEADS)]
    torch.testing.assert_close(model.all_logits(batch.x), torch.stack(by_head, dim=1))
    torch.testing.assert_close(model(batch.x), sum(by_head) / HEADS)
    torch.testing.assert_close(model(batch.x), embedding @ model.head.weight.mean(dim=0).T)
    assert torch.equal(model.class_centers(), model.head.weight[0])
    torch.testing.assert_close(model.other_answers(batch.x)["head 0"], by_head[0])


def crafted_with(model: Any, defense: DIO, batch: Batch) -> tuple[Any, Any, Tensor, Any, Any]:
    called: list[Any] = []

    def record(forward: Any, loss: Any, x: Tensor, reference: Any, per_step: Any = ()) -> Tensor:
        called.append((forward, loss, x, reference, per_step))
        return x

    defense.perturb(model, batch, record)
    return called[0]  # type: ignore[no-any-return]


def test_every_iteration_has_a_head_of_its_own_drawn_from_all_of_them() -> None:
    defense = DIO(heads=HEADS)
    model, batch, _ = many_headed(defense)
    forward, loss, x, labels, (heads,) = crafted_with(model, defense, batch)
    assert forward == model.all_logits and loss is one_head and x is batch.x and labels == (batch.y,)
    assert heads.dtype == torch.int64 and heads.dim() == 1
    counts = torch.bincount(heads, minlength=HEADS)
    assert len(counts) == HEADS
    # Five standard deviations of a binomial with p = 1/4.
    assert ((counts - len(heads) / HEADS).abs() < 5 * (len(heads) * 3 / 16) ** 0.5).all()
    assert (heads[1:] != heads[:-1]).float().mean() > 0.6
    again = crafted_with(model, defense, batch)[4][0]
    other = crafted_with(model, defense, Batch(batch.x, batch.y, batch.index, seed=0, epoch=0, step=1))[4][0]
    assert torch.equal(again, heads) and not torch.equal(other, heads)


def test_no_uniform_draws_a_head_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = torch.tensor([1 - 2.0**-24, 0.0])
    monkeypatch.setattr(Batch, "draw", lambda *_: largest)
    for count in range(1, 70):
        model, batch, _ = make(DIO(heads=count))
        assert crafted_with(model, DIO(heads=count), batch)[4][0].tolist() == [count - 1, 0]


def test_the_iterates_climb_the_drawn_heads_one_after_the_other() -> None:
    defense = DIO(heads=HEADS)
    model, batch, _ = many_headed(defense)
    heads = crafted_with(model, defense, batch)[4][0]
    budget, noise = Budget(ThreatModel("linf", 0.1), 5, 0.03, "none"), IndexNoise(0, batch.index)
    found = defense.perturb(model, batch, lambda *given: ascend(*given, budget=budget, noise=noise))
    x_adv = batch.x
    for step in range(5):
        x_adv = x_adv.detach().requires_grad_()
        logits = model.embed(x_adv) @ model.head.weight[int(heads[step])].T
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, batch.y), x_adv)
        moved = x_adv.detach() + 0.03 * gradient.sign()
        x_adv = moved.clamp(batch.x - 0.1, batch.x + 0.1).clamp(0, 1)
    assert len(set(heads[:5].tolist())) > 1
    torch.testing.assert_close(found, x_adv, rtol=0, atol=1e-12)


def test_with_one_head_and_no_weights_it_is_the_cross_entropy_of_a_linear_layer_without_bias() -> None:
    defense = DIO(heads=1, alpha=0.0, beta=0.0)
    model, batch, x_adv = many_headed(defense)
    total = torch.stack(list(defense.loss(model, batch, x_adv).values())).sum()
    torch.testing.assert_close(total, torch.nn.functional.cross_entropy(model(x_adv), batch.y))


def test_labels_are_smoothed_as_the_recipe_says() -> None:
    defense = DIO(heads=HEADS)
    model, batch, x_adv = make(defense, label_smoothing=0.1)
    logits = model.all_logits(x_adv)
    losses = [torch.nn.functional.cross_entropy(logits[:, i], batch.y, label_smoothing=0.1) for i in range(HEADS)]
    torch.testing.assert_close(defense.loss(model, batch, x_adv)["ce_adversarial"], sum(losses) / HEADS)


def test_the_objective_is_the_loss_of_each_image_alone_without_what_no_image_moves() -> None:
    defense = DIO(heads=HEADS, tau=3.0)
    model, batch, x_adv = many_headed(defense)
    found = defense.objective(model, batch.x, x_adv, batch.y)
    for i in range(IMAGES):
        one = slice(i, i + 1)
        alone = Batch(batch.x[one], batch.y[one], batch.index[one], seed=0, epoch=0, step=0)
        terms = defense.loss(model, alone, x_adv[one])
        torch.testing.assert_close(found[i], terms["ce_adversarial"] + terms["margin"])


def test_a_network_that_is_sure_of_itself_stays_finite_and_in_fp32() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        model = MultiHeadClassifier(Smooth(), MultiHead(WIDTH, CLASSES, 2))
        with torch.no_grad():
            model.head.weight.mul_(1e4)
        logits = model.all_logits(torch.rand(4, 3, 2, 2)).to(dtype)
        shortfall, _ = margin_shortfall(logits, torch.arange(4), model.head.weight, 0.2)
        total = mean_cross_entropy(logits, torch.arange(4)).mean() + shortfall.sum()
        total.backward()
        assert total.dtype == torch.float32 and torch.isfinite(total)
        assert model.head.weight.grad is not None and torch.isfinite(model.head.weight.grad).all()


def test_heads_begin_as_linear_layers_of_their_own() -> None:
    torch.manual_seed(0)
    weight = MultiHead(64, 10, 10).weight.detach()
    assert weight.abs().max() <= 1 / 8 and weight.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.05)
    assert not torch.equal(weight[0], weight[1])
    with pytest.raises(ValueError, match=r"heads must be .* got 0"):
        DIO(heads=0)


def test_the_authors_weights_are_the_defaults_and_cifar100_has_a_narrower_margin() -> None:
    found = [experiment(f"{data}/resnet18/dio").defense for data in ("cifar10", "svhn", "cifar100")]
    assert [(d.heads, d.alpha, d.beta, d.tau) for d in found] == [(10, 0.1, 0.1, 0.2)] * 2 + [(10, 0.1, 0.1, 0.1)]


def test_held_out_accuracy_of_head_0_is_logged_beside_that_of_the_mean(tmp_path: Path) -> None:
    task = small_task("dio")
    training = Training(task)
    task.model.train()
    order = torch.arange(96)
    for _ in range(3):
        training.advance(order)
    held = training.finish_epoch()["holdout"]
    x, y = task.holdout.batch(torch.arange(40))
    task.model.eval()
    right = (task.model.all_logits(x)[:, 0].argmax(dim=1) == y).float().mean().item()
    assert held["clean_accuracy/head 0"] == pytest.approx(right)
    assert set(held) == {"n", "clean_accuracy", "robust_accuracy", "clean_accuracy/head 0", "robust_accuracy/head 0"}


def test_a_step_draws_other_heads_than_the_next() -> None:
    task = small_task("dio")
    draws = [make_batch(task, torch.arange(32), 0, step).draw("dio/head", (10,)) for step in (0, 1)]
    assert not torch.equal(*draws)
