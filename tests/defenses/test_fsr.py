"""FSR against a float64 reference with loops, and where its randomness is and is not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from advdpnp.attacks.projected_ascent import cross_entropy as ce_ascent
from advdpnp.defenses import FSR, Batch
from advdpnp.defenses.fsr import (
    RecalibratedClassifier,
    auxiliary_losses,
    likeliest_wrong_class,
    randomly_separated,
)
from advdpnp.experiments import experiment
from advdpnp.models.classifier import Backbone
from advdpnp.models.heads import LinearHead
from advdpnp.models.recalibration import RecalibratedBackbone
from advdpnp.training.step import Training, make_batch
from advdpnp.training.weight_perturbation import weights_perturbed
from reference import fsr as reference
from training.small import small_task

CHANNELS, SIDE, CLASSES, IMAGES = 4, 3, 5, 6


class ItsOwnMap(Backbone):
    """The image is the map, scaled by a parameter: a gradient on the one is a gradient on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.features = self.map_channels = CHANNELS
        self.scale = torch.nn.Parameter(torch.ones(()))

    def feature_map(self, x: Tensor) -> Tensor:
        return self.scale * x


def made(temperature: float = 0.7, **fields: Any) -> tuple[RecalibratedClassifier, Batch, Tensor]:
    """A small network in training mode, a batch, and adversarial images."""
    torch.manual_seed(2)
    backbone = RecalibratedBackbone(ItsOwnMap(), CLASSES, temperature, hidden=3)
    model = RecalibratedClassifier(backbone, LinearHead(CHANNELS, CLASSES)).double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for linear in (model.head.linear, backbone.auxiliary.linear):
            linear.weight.mul_(4)
    x = torch.rand(IMAGES, CHANNELS, SIDE, SIDE, dtype=torch.float64)
    x_adv = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
    index = torch.tensor([7, 2, 30, 11, 5, 19])
    return model, Batch(x, torch.arange(IMAGES) % CLASSES, index, seed=3, epoch=1, step=4, **fields), x_adv


def uniforms(batch: Batch) -> Tensor:
    return batch.draw("fsr/mask", (2, CHANNELS, SIDE, SIDE), per_image=True)


def arrays(model: RecalibratedClassifier) -> dict[str, Any]:
    return {name: value.detach().numpy().copy() for name, value in model.named_parameters()}


def test_terms_and_gradients_equal_the_float64_reference() -> None:
    defense = FSR(temperature=0.7, lambda_sep=0.6, lambda_rec=1.7)
    model, batch, x_adv = made()
    u, draws, y = (model.backbone.backbone.scale * x_adv).detach().numpy(), uniforms(batch).double().numpy(), batch.y
    weights = arrays(model)

    def terms_of(map_: Any, with_weights: dict[str, Any]) -> tuple[float, float, float]:
        return reference.fsr(map_, y.tolist(), draws, with_weights, 0.7, 0.6, 1.7)

    x_adv = x_adv.clone().requires_grad_()
    terms = defense.loss(model, batch, x_adv)
    torch.stack(list(terms.values())).sum().backward()
    assert list(terms) == ["ce_adversarial", "separation", "recalibration"]
    assert [value.item() for value in terms.values()] == pytest.approx(terms_of(u, weights), rel=1e-10)
    generator = torch.Generator().manual_seed(4)

    def check(name: str, at: Any, gradient: Tensor, total: Callable[[Any], float]) -> None:
        along = torch.randn(gradient.shape, dtype=torch.float64, generator=generator)
        found = (gradient * along).sum().item()
        assert found == pytest.approx(reference.slope(total, at, along.numpy()), rel=1e-5, abs=1e-8), name

    for name, parameter in model.named_parameters():
        if name != "backbone.backbone.scale":
            assert parameter.grad is not None
            check(name, weights[name], parameter.grad, lambda v, name=name: sum(terms_of(u, weights | {name: v})))
    scale = model.backbone.backbone.scale.item()
    assert x_adv.grad is not None
    check("map", u, x_adv.grad / scale, lambda v: sum(terms_of(v, weights)))


def test_the_wrong_class_is_the_prediction_or_else_the_second() -> None:
    logits = torch.tensor([[5.0, 1.0, 3.0], [5.0, 1.0, 3.0], [5.0, 1.0, 3.0], [-9.0, -1.0, -2.0]])
    assert likeliest_wrong_class(logits, torch.tensor([0, 1, 2, 1])).tolist() == [2, 0, 0, 2]
    for row, label in zip(logits, [0, 1, 2, 1], strict=True):
        one = likeliest_wrong_class(row[None], torch.tensor([label])).item()
        assert one == reference.wrong_class(row.numpy(), label) != label


def test_the_random_mask_belongs_to_the_image_and_the_epoch() -> None:
    model, batch, x_adv = made()
    model.eval()
    whole = randomly_separated(model.backbone, batch, x_adv).robust
    some = torch.tensor([4, 0])
    other_step = Batch(batch.x[some], batch.y[some], batch.index[some], seed=3, epoch=1, step=9)
    torch.testing.assert_close(randomly_separated(model.backbone, other_step, x_adv[some]).robust, whole[some])
    for changed in ({"epoch": 2}, {"seed": 4}):
        again = Batch(batch.x, batch.y, batch.index, **{"seed": 3, "epoch": 1, "step": 4, **changed})
        assert not torch.allclose(randomly_separated(model.backbone, again, x_adv).robust, whole)
    # Two images that are equal have masks of their own.
    twins = x_adv[:1].expand(IMAGES, -1, -1, -1)
    parts = randomly_separated(model.backbone, batch, twins).robust
    assert not torch.allclose(parts[0], parts[1])


def test_the_loss_is_random_by_its_batch_alone() -> None:
    model, batch, x_adv = made()
    torch.manual_seed(1)
    first = FSR().loss(model, batch, x_adv)
    torch.manual_seed(2)
    second = FSR().loss(model, batch, x_adv)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_attack_climbs_the_logits_of_the_network_which_have_no_noise() -> None:
    model, batch, _ = made()
    called: list[Any] = []

    def record(forward: Any, loss: Any, x: Tensor, reference: Any, per_step: Any = ()) -> Tensor:
        called.append((forward, loss, x, reference, per_step))
        return x

    FSR().perturb(model.eval(), batch, record)
    assert called == [(model, ce_ascent, batch.x, (batch.y,), ())]
    half = torch.full((IMAGES, 2, CHANNELS, SIDE, SIDE), 0.5)
    parts = model.backbone.separate(model.backbone.backbone.feature_map(batch.x), half)
    torch.testing.assert_close(model(batch.x), model.head(parts.together.mean(dim=(2, 3))))


def test_each_term_reaches_what_it_is_computed_from_and_no_more() -> None:
    """Nothing is detached; that the head gets nothing from the separation says that the wrong class is an index."""
    model, batch, x_adv = made()
    backbone = model.backbone
    modules = {
        "backbone": backbone.backbone.scale,
        "separation": backbone.separation.conv1.weight,
        "recalibration": backbone.recalibration.conv1.weight,
        "auxiliary": backbone.auxiliary.linear.weight,
        "head": model.head.linear.weight,
    }
    reached = {}
    for term, value in FSR().loss(model, batch, x_adv).items():
        gradients = torch.autograd.grad(value, list(modules.values()), retain_graph=True, allow_unused=True)
        reached[term] = {name for name, g in zip(modules, gradients, strict=True) if g is not None and g.any()}
    assert reached == {
        "ce_adversarial": {"backbone", "separation", "recalibration", "head"},
        "separation": {"backbone", "separation", "auxiliary"},
        "recalibration": {"backbone", "separation", "recalibration", "auxiliary"},
    }


def test_only_adversarial_images_are_seen_once() -> None:
    model, batch, x_adv = made()
    seen: list[Tensor] = []
    inner = model.backbone.backbone
    feature_map = inner.feature_map
    inner.feature_map = lambda x: (seen.append(x), feature_map(x))[1]  # type: ignore[method-assign]
    FSR().loss(model, batch, x_adv)
    assert len(seen) == 1 and seen[0] is x_adv


def test_label_smoothing_is_for_true_labels_alone() -> None:
    model, batch, x_adv = made(label_smoothing=0.2)
    plain = Batch(batch.x, batch.y, batch.index, seed=3, epoch=1, step=4)
    parts = randomly_separated(model.backbone, batch, x_adv)
    logits = model.head(model.backbone.pool(parts.together))
    smooth, _ = auxiliary_losses(model.backbone, parts, logits, batch.y, batch.cross_entropy)
    sharp, _ = auxiliary_losses(model.backbone, parts, logits, batch.y, plain.cross_entropy)
    robust = model.backbone.auxiliary_logits(parts.robust)
    torch.testing.assert_close(smooth - sharp, batch.cross_entropy(robust) - plain.cross_entropy(robust))
    found = FSR().loss(model, batch, x_adv)
    torch.testing.assert_close(found["separation"], smooth.mean())
    torch.testing.assert_close(found["ce_adversarial"], batch.cross_entropy(logits).mean())


def test_the_objective_is_the_loss_under_the_mask_without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    defense = FSR(lambda_sep=0.6, lambda_rec=1.7)
    model, batch, x_adv = made()
    found = defense.objective(model, batch.x, x_adv, batch.y)
    monkeypatch.setattr(Batch, "draw", lambda _batch, _name, shape, **_: torch.full((IMAGES, *shape), 0.5))
    torch.testing.assert_close(found.mean(), torch.stack(list(defense.loss(model, batch, x_adv).values())).sum())


def test_perturbed_weights_have_the_masks_of_the_step() -> None:
    task = small_task("fsr", "recipe.weight_perturbation.gamma=0.01")
    training = Training(task)
    task.model.train()
    batch = make_batch(task, torch.arange(32), 0, 0)
    seen: list[Tensor] = []
    separate = task.model.backbone.separate
    task.model.backbone.separate = lambda u, draws: (seen.append(draws), separate(u, draws))[1]

    def total() -> Tensor:
        return torch.stack(list(training.losses(batch, batch.x).values())).sum()

    with weights_perturbed(task.model, 0.01, total):
        total()
    assert len(seen) == 2 and torch.equal(*seen)


def test_the_authors_weights_are_the_defaults() -> None:
    for data in ("cifar10", "cifar100", "svhn"):
        defense = experiment(f"{data}/resnet18/fsr").defense
        assert (defense.temperature, defense.lambda_sep, defense.lambda_rec) == (0.1, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"defense\.temperature must be above 0"):
        FSR(temperature=0.0)
