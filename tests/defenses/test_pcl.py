"""PCL against a float64 reference written from its equations; its centers, warm-up and pre-training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from advdpnp import api
from advdpnp.attacks.projected_ascent import cross_entropy as ce_ascent
from advdpnp.defenses import PCL, ST, Batch
from advdpnp.defenses.pcl import contrast, proximity, with_gradient_share
from advdpnp.experiments import experiment
from advdpnp.runs import Run
from advdpnp.training import Recipe
from advdpnp.training.optimizer import ScheduledSGD
from advdpnp.training.step import Training, make_batch
from defenses.smooth import CLASSES, WIDTH, Smooth, make
from reference import pcl as reference
from training.small import StopAt, small_experiment, small_task

# Weights that all matter, and no warm-up.
FIELDS: dict[str, Any] = {"proximity": 0.7, "contrast": 0.03, "width": 9, "warmup": 0}


class Taped:
    """A loss, and what autograd finds at its taps and logits."""

    def __init__(self, defense: PCL, model: Any, batch: Batch, x_adv: Tensor) -> None:
        self.seen: list[Tensor] = []

        def keep(_module: Any, _inputs: object, output: Tensor) -> None:
            output.retain_grad()
            self.seen.append(output)

        parts = (model.backbone.backbone, model.backbone.projection, model.head)
        handles = [part.register_forward_hook(keep) for part in parts]
        self.terms = defense.loss(model, batch, x_adv)
        for handle in handles:
            handle.remove()

    @property
    def values(self) -> list[np.ndarray[Any, Any]]:
        """Features, wide features, logits."""
        return [output.detach().numpy() for output in self.seen]

    def layers(self, model: Any) -> list[reference.Layer]:
        centers = zip(model.own_centers, model.other_centers, strict=True)
        return [
            (values, own.detach().numpy(), other.detach().numpy())
            for values, (own, other) in zip(self.values, centers, strict=False)
        ]


def test_terms_equal_the_float64_reference_on_clean_and_adversarial_images_together() -> None:
    defense = PCL(**FIELDS)
    model, batch, x_adv = make(defense)
    taped = Taped(defense, model, batch, x_adv)
    # One forward, clean images first; the linear layer and the logits follow by hand.
    both, y = torch.cat([batch.x, x_adv]), batch.y.tolist() * 2
    assert len(taped.seen) == 3 and [values.shape for values in taped.values] == [(24, WIDTH), (24, 9), (24, CLASSES)]
    np.testing.assert_allclose(taped.values[0], model.backbone.backbone(both).detach().numpy())
    weight, bias = model.backbone.projection.weight.detach().numpy(), model.backbone.projection.bias.detach().numpy()
    np.testing.assert_allclose(taped.values[1], taped.values[0] @ weight.T + bias)
    expected = reference.pcl(taped.values[2], taped.layers(model), y, 0.7, 0.03)
    assert list(taped.terms) == ["ce", "proximity", "contrast"]
    assert [term.item() for term in taped.terms.values()] == pytest.approx(expected, rel=1e-12)
    assert taped.terms["contrast"].item() < 0


def test_gradients_equal_the_float64_reference() -> None:
    defense = PCL(**FIELDS)
    model, batch, x_adv = make(defense)
    taped = Taped(defense, model, batch, x_adv)
    torch.stack(list(taped.terms.values())).sum().backward()
    y, layers = batch.y.tolist() * 2, taped.layers(model)
    by_layer = [reference.layer_gradients(layer, y, 0.7, 0.03) for layer in layers]
    by_logits = reference.logit_gradient(taped.values[2], y)
    # The wide features lead to the logits too, and the narrow ones to the wide ones.
    wide = by_layer[1][0] + by_logits @ model.head.linear.weight.detach().numpy()
    narrow = by_layer[0][0] + wide @ model.backbone.projection.weight.detach().numpy()
    for found, expected in zip(taped.seen, (narrow, wide, by_logits), strict=True):
        torch.testing.assert_close(found.grad, torch.from_numpy(expected), rtol=1e-9, atol=1e-14)
    for place, (_, on_own, on_other) in enumerate(by_layer):
        torch.testing.assert_close(model.own_centers[place].grad, torch.from_numpy(on_own), rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(model.other_centers[place].grad, torch.from_numpy(on_other), rtol=1e-9, atol=1e-14)


def drawn(images: int = 6, classes: int = 4, width: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    h, centers = (torch.randn(n, width, dtype=torch.float64, generator=generator) for n in (images, classes))
    return h, centers, torch.arange(images) % classes


def test_both_distances_pass_gradcheck_and_are_live_in_features_and_centers() -> None:
    h, centers, y = drawn()
    h.requires_grad_()
    centers.requires_grad_()
    for distance in (proximity, contrast):
        assert torch.autograd.gradcheck(lambda a, b, f=distance: f(a, b, y), (h, centers))
        for gradient in torch.autograd.grad(distance(h, centers, y).sum(), (h, centers)):
            assert gradient.abs().sum(dim=1).min() > 0


def test_distances_are_clamped_as_printed_and_have_no_gradient_there() -> None:
    h = torch.tensor([[1.0, 2.0], [3e6, 0.0]], dtype=torch.float64, requires_grad=True)
    centers = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    found = proximity(h, centers, torch.tensor([0, 1]))
    assert found.tolist() == [1e-12, 1e12]
    (gradient,) = torch.autograd.grad(found.sum(), h)
    assert not gradient.any()
    found = contrast(h, centers, torch.tensor([1, 0]))
    assert found.tolist() == [1e-12, 1e12]


def test_the_own_class_is_no_part_of_the_contrast() -> None:
    h, centers, y = drawn()
    moved = centers.clone()
    moved[0] += 100
    same = y == 0
    before, after = contrast(h, centers, y), contrast(h, moved, y)
    torch.testing.assert_close(before[same], after[same])
    assert (after[~same] > before[~same] + 1).all()


def test_features_pull_only_the_centers_of_their_class_and_push_only_those_of_others() -> None:
    h, centers, _ = drawn()
    y = torch.zeros(len(h), dtype=torch.int64)
    centers.requires_grad_()
    (near,) = torch.autograd.grad(proximity(h, centers, y).sum(), centers)
    (far,) = torch.autograd.grad(contrast(h, centers, y).sum(), centers)
    assert near[0].any() and not near[1:].any() and not far[0].any() and far[1:].abs().sum(dim=1).min() > 0


def test_no_center_has_a_path_to_the_cross_entropy_or_to_the_other_term() -> None:
    defense = PCL(**FIELDS)
    model, batch, x_adv = make(defense)
    terms = defense.loss(model, batch, x_adv)
    centers = {"proximity": list(model.own_centers), "contrast": list(model.other_centers)}
    for term, value in terms.items():
        for own, members in centers.items():
            found = torch.autograd.grad(value, members, retain_graph=True, allow_unused=True)
            assert all((gradient is not None) == (term == own) for gradient in found)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_gradient_leaves_the_values(share: float) -> None:
    h = torch.randn(8, 5, requires_grad=True)
    shared = with_gradient_share(h, torch.tensor(share))
    assert torch.equal(shared, h)
    (gradient,) = torch.autograd.grad(shared.square().sum(), h)
    torch.testing.assert_close(gradient, share * 2 * h.detach())


def test_the_pull_on_the_network_grows_with_the_third_power_and_the_centers_learn_from_the_start() -> None:
    defense = PCL(**FIELDS | {"warmup": 4})
    model, batch, x_adv = make(defense)
    whole = PCL(**FIELDS)
    parameter = model.backbone.backbone.map.weight

    def gradients(defense: PCL, epochs_done: int) -> tuple[Tensor, Tensor, list[float]]:
        defense.between_epochs(model, epochs_done)
        terms = defense.loss(model, batch, x_adv)
        conformity = terms["proximity"] + terms["contrast"]
        on_network = torch.autograd.grad(conformity, parameter, retain_graph=True)[0]
        on_centers = torch.autograd.grad(conformity, model.own_centers[1])[0]
        return on_network, on_centers, [term.item() for term in terms.values()]

    network, centers, terms = gradients(whole, 0)
    for epochs_done, share in ((0, 0.0), (1, 1 / 64), (2, 1 / 8), (3, 27 / 64), (4, 1.0), (9, 1.0)):
        found = gradients(defense, epochs_done)
        torch.testing.assert_close(found[0], share * network)
        assert torch.equal(found[1], centers) and found[2] == terms


def test_the_share_is_part_of_the_state_and_of_folded_copies() -> None:
    task = small_task("pcl")
    task.defense.between_epochs(task.model, 5)
    assert task.model.state_dict()["pull"].item() == 0.125


def test_centers_are_in_groups_of_their_own_at_constant_rates_without_momentum_or_decay() -> None:
    defense = PCL(proximity=2.0, contrast=1e-4, proximity_lr=0.5, contrast_lr=1e-3, width=9)
    model, _, _ = make(defense)
    network, own, other = defense.param_groups(model)
    assert own["lr"] == pytest.approx(0.25) and other["lr"] == pytest.approx(10.0)
    for group, centers in ((own, model.own_centers), (other, model.other_centers)):
        assert {id(p) for p in group["params"]} == {id(p) for p in centers}
        assert (group["momentum"], group["weight_decay"], group["scheduled"]) == (0.0, 0.0, False)
    held = [id(p) for group in (network, own, other) for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    resting = PCL(proximity=0.0, contrast=0.0).param_groups(model)
    assert [group["lr"] for group in resting[1:]] == [0.0, 0.0]


@pytest.mark.parametrize("schedule", ["steps", "cosine", "onecycle"])
def test_five_steps_of_the_centers_are_plain_sgd_on_gradients_divided_by_the_weight(schedule: str) -> None:
    defense = PCL(**FIELDS | {"proximity_lr": 0.5, "contrast_lr": 0.1})
    model, batch, x_adv = make(defense)
    small: Recipe = small_experiment("pcl", f"recipe.schedule={schedule}", "recipe.nesterov=true").recipe
    sgd = ScheduledSGD(defense.param_groups(model), small, total_steps=5)
    y = batch.y.tolist() * 2
    for step in range(5):
        sgd.schedule(step)
        sgd.sgd.zero_grad()
        taped = Taped(defense, model, batch, x_adv)
        torch.stack(list(taped.terms.values())).sum().backward()
        expected = []
        for layer in taped.layers(model):
            _, on_own, on_other = reference.layer_gradients(layer, y, 0.7, 0.03)
            expected.append(reference.center_step(layer[1], on_own, 0.7, 0.5))
            expected.append(reference.center_step(layer[2], on_other, 0.03, 0.1))
        sgd.sgd.step()
        found = [c for pair in zip(model.own_centers, model.other_centers, strict=True) for c in pair]
        for center, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(center.detach().numpy(), wanted, rtol=1e-9)


def test_images_are_crafted_on_the_cross_entropy_of_the_main_logits() -> None:
    defense = PCL(**FIELDS)
    model, batch, _ = make(defense)
    called: list[Any] = []

    def spy(forward: Any, loss: Any, x: Tensor, reference: Any, per_step: Any = ()) -> Tensor:
        called.append((forward, loss, reference))
        return x

    defense.perturb(model, batch, spy)
    assert called[0][0] is model and called[0][1] is ce_ascent and called[0][2][0] is batch.y
    before = model(batch.x)
    with torch.no_grad():
        for center in (*model.own_centers, *model.other_centers):
            center.fill_(torch.nan)
    assert torch.equal(model(batch.x), before)
    assert model.class_centers().shape == (CLASSES, 9) and model.embed(batch.x).shape == (len(batch.x), 9)


def test_smoothed_labels_are_those_of_clean_and_adversarial_images() -> None:
    defense = PCL(**FIELDS)
    model, batch, x_adv = make(defense, label_smoothing=0.2)
    expected = [batch.cross_entropy(model(x)).mean() for x in (batch.x, x_adv)]
    torch.testing.assert_close(defense.loss(model, batch, x_adv)["ce"], (expected[0] + expected[1]) / 2)


def test_the_objective_is_the_loss_of_the_adversarial_half() -> None:
    defense = PCL(**FIELDS)
    model, batch, x_adv = make(defense)
    found = defense.objective(model, batch.x, x_adv, batch.y)
    assert found.shape == batch.y.shape
    # With x' in the place of x, both halves are the same.
    twice = Batch(x_adv, batch.y, batch.index, seed=0, epoch=0, step=0)
    torch.testing.assert_close(found.mean(), sum(defense.loss(model, twice, x_adv).values()))


def test_losses_are_in_fp32_where_the_network_is_in_bf16() -> None:
    task = small_task("pcl", "recipe.precision=bf16")
    task.model.train()
    batch = make_batch(task, torch.arange(32), 0, 0)
    terms = Training(task).losses(batch, batch.x)
    assert all(term.dtype == torch.float32 and torch.isfinite(term) for term in terms.values())


def test_centers_are_drawn_from_a_standard_normal_distribution_by_the_seed() -> None:
    model, again = (experiment("digits/tiny/pcl", seed=1).build() for _ in range(2))
    other = experiment("digits/tiny/pcl", seed=2).build()
    for name in ("own_centers", "other_centers"):
        for first, same, different in zip(*(getattr(m, name) for m in (model, again, other)), strict=True):
            assert torch.equal(first, same) and not torch.equal(first, different)
            assert first.shape in ((10, 64), (10, 1024)) and abs(first.std().item() - 1) < 0.1
    assert not torch.equal(model.own_centers[0], model.other_centers[0])


def test_pre_training_is_the_standard_training_of_the_same_network() -> None:
    wanted = experiment("cifar10/resnet8/pcl", seed=4, settings=["defense.pretraining=6", "defense.width=32"])
    before = wanted.needs
    assert before is not None and before.needs is None
    assert before.folder(Path("runs")) == Path("runs/cifar10/resnet8/st+pcl-helper/seed-4")
    assert before.defense == ST(embedding="linear(32)")
    recipe = before.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.schedule) == (6, 128, 0.1, "steps")
    assert [round(164 * milestone) for milestone in recipe.milestones] == [81, 122, 140]
    assert recipe.weight_decay == wanted.recipe.weight_decay
    assert experiment("cifar10/resnet8/pcl").needs is None


def test_a_run_begins_with_the_pre_trained_weights_and_centers_of_its_own(tmp_path: Path) -> None:
    wanted = small_experiment("pcl", "defense.pretraining=1", "defense.width=32", "recipe.lr=0")
    run = api.train(wanted, tmp_path, device="cpu")
    before = Run(tmp_path / "digits/tiny/st+pcl-helper/seed-0")
    given, kept = before.read_weights("last")[0], run.read_weights("last")[0]
    for name in ("backbone.backbone.conv1.weight", "backbone.projection.weight", "head.linear.weight"):
        assert torch.equal(kept[name], given[name])
    assert run.config()["needs"]["folder"] == "digits/tiny/st+pcl-helper/seed-0"
    assert not torch.equal(kept["own_centers.0"], wanted.build().state_dict()["own_centers.0"])
    assert before.config()["recipe"]["epochs"] == 1 and before.config()["defense"]["embedding"] == "linear(32)"


def test_a_break_in_pre_training_or_run_costs_no_bit(tmp_path: Path) -> None:
    settings = ("defense.pretraining=2", "defense.width=32", "defense.warmup=1")
    wanted = small_experiment("pcl", *settings)
    whole = api.train(wanted, tmp_path / "whole", device="cpu").weights_path("last").read_bytes()
    # 96 images are one batch of 128, so pre-training has 2 steps; the run has 6.
    for steps in (1, 2, 3, 6):
        out = tmp_path / f"stopped-{steps}"
        with pytest.raises(KeyboardInterrupt):
            api.train(wanted, out, device="cpu", callback=StopAt(steps), checkpoint_seconds=0)
        run = api.train(wanted, out, device="cpu", resume=True, checkpoint_seconds=0)
        assert run.weights_path("last").read_bytes() == whole


def test_the_authors_numbers_are_the_defaults() -> None:
    defense = experiment("cifar10/resnet18/pcl").defense
    found = (defense.proximity, defense.contrast, defense.proximity_lr, defense.contrast_lr, defense.width)
    assert found == (1.0, 1e-5, 0.5, 1e-5, 1024)
    model = PCL().build(Smooth(), CLASSES)
    assert [tuple(center.shape) for center in model.own_centers] == [(CLASSES, WIDTH), (CLASSES, 1024)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"contrast": -1.0}, "defense.contrast must be at least 0; got -1"),
        ({"width": 0}, "defense.width must be at least 1; got 0"),
        ({"warmup": 0.5}, "defense.warmup must be a whole number; got 0.5"),
        ({"pretraining": -1}, "defense.pretraining must be at least 0; got -1"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PCL(**fields)
