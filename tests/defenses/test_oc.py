"""OC against a float64 reference written from its equations, and its fixed rows."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks.projected_ascent import Budget, ascend
from advdpnp.defenses import OC
from advdpnp.defenses.oc import OrthogonalClassifier, squared_distance
from advdpnp.experiments import experiment
from advdpnp.models import build_backbone
from advdpnp.models.heads import OrthogonalHead, hadamard
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel
from advdpnp.training.step import Training, make_batch
from defenses.smooth import CLASSES, Smooth, make, outputs_and_gradients
from reference import oc as reference
from training.small import small_task

WIDE = {"embedding": "linear(16)"}


def embedded(defense: OC) -> tuple[Any, Any, dict[str, Tensor], list[Tensor], list[Tensor]]:
    """Network, batch, terms; embeddings of each forward of the loss in order; gradients of the sum on each of them."""
    model, batch, x_adv = make(defense)
    terms, seen, gradients = outputs_and_gradients(model.backbone, defense, model, batch, x_adv)
    torch.testing.assert_close(seen[0], model.embed(batch.x).detach())
    torch.testing.assert_close(seen[1], model.embed(x_adv).detach())
    return model, batch, terms, seen, gradients


def test_terms_and_gradients_equal_the_float64_reference() -> None:
    defense = OC(scale=3.0, leverage=0.3, **WIDE)
    _, batch, terms, embeddings, gradients = embedded(defense)
    targets = reference.rows(CLASSES, 16, 3.0)
    arrays = *(each.numpy() for each in embeddings), batch.y.tolist(), targets, 0.3
    assert list(terms) == ["squared_clean", "squared_adversarial"]
    assert [term.item() for term in terms.values()] == pytest.approx(reference.oc(*arrays), rel=1e-12)
    for found, expected in zip(gradients, reference.oc_gradients(*arrays), strict=True):
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-10, atol=1e-15)


def test_the_sum_over_coordinates_is_their_number_times_the_mean() -> None:
    _, batch, terms, embeddings, _ = embedded(OC(reduction="sum", leverage=0.5, **WIDE))
    targets = reference.rows(CLASSES, 16, 10.0)
    for term, values in zip(terms.values(), embeddings, strict=True):
        expected = reference.squared_loss(values.numpy(), batch.y.tolist(), targets, mean=False)
        assert term.item() == pytest.approx(0.5 * expected, rel=1e-12)


@pytest.mark.parametrize(("classes", "width"), [(2, 2), (3, 4), (10, 16), (10, 64), (100, 128)])
def test_rows_are_orthogonal_dense_and_of_one_magnitude(classes: int, width: int) -> None:
    rows = OrthogonalHead(width, classes, 10.0).weight.double()
    torch.testing.assert_close(rows @ rows.T, 100 * torch.eye(classes, dtype=torch.float64), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(rows.abs(), torch.full_like(rows, 10 / width**0.5), rtol=1e-6, atol=0)
    np.testing.assert_allclose(rows.numpy(), reference.rows(classes, width, 10.0), rtol=1e-6)


def test_the_first_matrices_by_hand() -> None:
    assert hadamard(1).tolist() == [[1]]
    assert hadamard(2).tolist() == [[1, 1], [-1, 1]]
    assert hadamard(4).tolist() == [[1, 1, 1, 1], [-1, 1, -1, 1], [-1, -1, 1, 1], [1, -1, -1, 1]]


@pytest.mark.parametrize(
    ("width", "classes", "cure"), [(640, 10, 512), (64, 100, 128), (2, 10, 16), (7, 5, 8), (96, 64, 64), (1, 2, 2)]
)
def test_where_there_is_no_matrix_the_width_that_has_one_is_named(width: int, classes: int, cure: int) -> None:
    with pytest.raises(
        ValueError, match=rf"power of two .* {classes}; got width {width}: .*=linear\({cure}\) adds"
    ) as raised:
        OC().build(Smooth(features=width), classes)
    assert "\n" not in str(raised.value)
    OC(embedding=f"linear({cure})").build(Smooth(features=width), classes)


def test_on_its_own_row_an_image_has_the_logits_scale_squared_and_zero() -> None:
    head = OrthogonalHead(16, 5, 10.0)
    torch.testing.assert_close(head(head.weight), 100 * torch.eye(5), rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(head(2 * head.weight), 200 * torch.eye(5), rtol=1e-6, atol=1e-4)
    assert head.saturates


def test_the_rows_never_change_and_no_optimizer_has_them() -> None:
    task = small_task("oc", "recipe.weight_decay=0.1", "recipe.weight_perturbation.gamma=0.01")
    training = Training(task)
    before = task.model.head.weight.clone()
    assert not list(task.model.head.parameters())
    task.model.train()
    for _ in range(3):
        training.advance(torch.arange(96))
    assert torch.equal(task.model.head.weight, before) and "head.weight" in task.model.state_dict()


def test_images_are_crafted_on_the_distance_of_the_embedding_to_its_row() -> None:
    defense = OC(**WIDE)
    model, batch, _ = make(defense)
    called: list[Any] = []

    def spy(forward: Any, loss: Any, x: Tensor, reference: Any, per_step: Any = ()) -> Tensor:
        called.append((forward, loss, x, reference))
        return x

    defense.perturb(model, batch, spy)
    ((forward, loss, x, tensors),) = called
    assert forward == model.embed and x is batch.x
    expected = [
        reference.squared_loss(f[None], [label], reference.rows(CLASSES, 16, 10.0), mean=False)
        for f, label in zip(model.embed(x).detach().numpy(), batch.y.tolist(), strict=True)
    ]
    torch.testing.assert_close(loss(model.embed(x), tensors, ()).detach(), torch.tensor(expected, dtype=torch.float64))
    assert OC().start == "uniform"


def test_one_step_of_the_attack_is_along_the_sign_of_the_gradient_by_hand() -> None:
    defense = OC(**WIDE)
    model, batch, _ = make(defense)
    budget = Budget(ThreatModel("linf", 0.01), 1, 0.01, "none")
    x_adv = ascend(
        model.embed,
        squared_distance,
        batch.x,
        (model.head.weight[batch.y],),
        budget=budget,
        noise=IndexNoise(0, batch.index),
    )
    # f = A tanh(M x + m) + a: d ||f - w||^2 / dx = 2 M^T (tanh'(.) * A^T (f - w)).
    inner, outer = model.backbone.backbone.map, model.backbone.projection
    hidden = torch.tanh(batch.x.flatten(1) @ inner.weight.T + inner.bias)
    residual = hidden @ outer.weight.T + outer.bias - model.head.weight[batch.y]
    slope = ((residual @ outer.weight) * (1 - hidden.square())) @ inner.weight
    expected = (batch.x + 0.01 * slope.sign().view_as(batch.x)).clamp(0, 1)
    torch.testing.assert_close(x_adv, expected.detach(), rtol=0, atol=1e-12)


def test_no_gradient_passes_from_the_target_or_from_one_branch_to_the_other() -> None:
    defense = OC(**WIDE)
    model, batch, x_adv = make(defense)
    x, x_adv = batch.x.clone().requires_grad_(), x_adv.clone().requires_grad_()
    object.__setattr__(batch, "x", x)
    terms = defense.loss(model, batch, x_adv)
    assert torch.autograd.grad(terms["squared_clean"], x_adv, retain_graph=True, allow_unused=True)[0] is None
    assert torch.autograd.grad(terms["squared_adversarial"], x, retain_graph=True, allow_unused=True)[0] is None
    for name, images in (("squared_clean", x), ("squared_adversarial", x_adv)):
        (gradient,) = torch.autograd.grad(terms[name], images, retain_graph=True)
        assert gradient.abs().sum(dim=(1, 2, 3)).min() > 0
    assert not model.head.weight.requires_grad


def test_the_loss_passes_gradcheck() -> None:
    model, batch, _ = make(OC(**WIDE))
    embedding = model.embed(batch.x).detach().requires_grad_()
    targets = model.head.weight[batch.y]
    assert torch.autograd.gradcheck(lambda f: squared_distance(f, (targets,), ()), (embedding,))


def test_clean_and_adversarial_images_go_through_alone_in_training_mode() -> None:
    task = small_task("oc")
    task.model.train()
    sizes: list[tuple[int, bool]] = []
    handle = task.model.backbone.register_forward_pre_hook(
        lambda module, inputs: sizes.append((len(inputs[0]), module.training))
    )
    batch = make_batch(task, torch.arange(32), 0, 0)
    task.defense.loss(task.model, batch, (batch.x + 0.05).clamp(0, 1))
    handle.remove()
    assert sizes == [(32, True), (32, True)]


def test_the_objective_is_the_term_that_the_attacker_moves() -> None:
    defense = OC(leverage=0.25, **WIDE)
    model, batch, x_adv = make(defense)
    found = defense.objective(model, batch.x, x_adv, batch.y)
    assert found.shape == batch.y.shape
    torch.testing.assert_close(found.mean(), defense.loss(model, batch, x_adv)["squared_adversarial"])


@pytest.mark.parametrize("activation", ["prelu", "signed"])
@pytest.mark.parametrize("backbone", ["resnet8", "preact-resnet18", "wrn-10-1", "tiny"])
def test_every_coordinate_of_the_embedding_can_be_negative(backbone: str, activation: str) -> None:
    torch.manual_seed(0)
    model = OC(activation=activation).build(build_backbone(backbone, (3, 12, 12)), 10)  # type: ignore[arg-type]
    with torch.no_grad():
        embedding = model.train().embed(torch.rand(256, 3, 12, 12))
    assert (embedding.amin(dim=0) < 0).all()
    rectified = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    sloped = [module for module in model.modules() if isinstance(module, nn.PReLU)]
    assert (not rectified and sloped) if activation == "prelu" else (rectified and not sloped)
    assert all(module.weight.shape == (1,) and module.weight.item() == 0.25 for module in sloped)


def test_an_embedding_that_is_signed_already_stays_so() -> None:
    for activation in ("prelu", "signed"):
        backbone = build_backbone("tiny-2d", (1, 8, 8))
        model = OC(activation=activation).build(backbone, 2)  # type: ignore[arg-type]
        last = model.backbone.get_submodule("activation")
        assert isinstance(last, nn.PReLU) and last.weight.shape == (2,)
        rectified = [module for module in model.modules() if isinstance(module, nn.ReLU)]
        assert len(rectified) == (0 if activation == "prelu" else 2)


def test_kaimings_initialization_has_the_variance_of_the_fan_out() -> None:
    torch.manual_seed(0)
    model: OrthogonalClassifier = OC(initialization="kaiming").build(build_backbone("resnet8", (3, 32, 32)), 10)
    weight = model.backbone.get_submodule("stages.2.0.conv1").weight
    assert isinstance(weight, Tensor) and weight.shape == (64, 32, 3, 3)
    # 64 channels out, 3 x 3: 18,432 weights, whose variance is known to 1 %.
    assert weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.04)


def test_the_authors_numbers_are_the_defaults() -> None:
    defense = experiment("cifar10/resnet18/oc").defense
    assert (defense.scale, defense.leverage, defense.reduction) == (10.0, 0.15, "mean")
    assert experiment("mnist/resnet8/oc").defense.leverage == 0.3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"leverage": 1.5}, r"defense.leverage must be in \[0, 1\]; got 1.5"),
        ({"scale": 0.0}, "defense.scale must be above 0; got 0.0"),
        ({"activation": "relu"}, "defense.activation must be one of prelu, signed"),
        ({"embedding": "wide"}, "embedding must be native or linear"),
    ],
)
def test_impossible_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OC(**fields)
