import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from advdpnp.models import build_backbone
from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.folding import fold_batchnorm, refold, unfolded
from advdpnp.models.heads import LinearHead, PrototypeHead

NAMES = ["resnet8", "resnet18", "preact-resnet18", "wrn-10-2", "tiny", "tiny-2d", "lenets++"]


def classifier(name: str) -> Classifier:
    """A network in train mode whose BatchNorm layers have seen something."""
    torch.manual_seed(0)
    backbone = build_backbone(name, (3, 16, 16))
    model = Classifier(backbone, PrototypeHead(backbone.features, 10, alpha=1.0))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.1
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


def images(count: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 16, 16, generator=generator), torch.arange(count) % 10


def dtype_of(model: nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype


def logits_and_gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    # A leaf at the network's input trips the FLOP counter of torch.
    logits = model(x * 1)
    return logits.detach(), torch.autograd.grad(cross_entropy(logits, y, reduction="sum"), x)[0]


def assert_same_function(folded: nn.Module, model: nn.Module) -> None:
    """Logits and input gradients of the copy are those of the model in eval mode.

    The model in float64. In a copy of float32 a ReLU at rounding distance from zero may switch part of an image's
    gradient: there the median image decides.
    """
    x, y = images()
    expected, expected_gradient = logits_and_gradient(copy.deepcopy(model).double().eval(), x.double(), y)
    logits, gradient = logits_and_gradient(folded, x.to(dtype_of(folded)), y)
    rounding = 1000 * torch.finfo(dtype_of(folded)).eps
    assert (logits - expected).norm() < rounding * expected.norm()
    apart = (gradient - expected_gradient).flatten(1).norm(dim=1) / expected_gradient.flatten(1).norm(dim=1)
    assert (apart.max() if dtype_of(folded) == torch.float64 else apart.median()) < rounding


def sgd_step(model: nn.Module) -> None:
    """Changes every parameter and every running statistic."""
    x, y = images(8)
    x = x.to(dtype_of(model))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cross_entropy(model(x), y).backward()
    optimizer.step()


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_the_copy_is_the_same_function(name: str, dtype: torch.dtype) -> None:
    model = classifier(name).to(dtype)
    assert_same_function(fold_batchnorm(model), model)


@pytest.mark.parametrize("name", NAMES)
def test_refresh_after_an_optimizer_step_is_the_new_function_in_the_old_storage(name: str) -> None:
    model = classifier(name).double()
    folded, (x, y) = fold_batchnorm(model), images()
    before = {key: tensor.data_ptr() for key, tensor in tensors(folded).items()}
    stale, _ = logits_and_gradient(folded, x.double(), y)
    sgd_step(model)
    refold(folded, model)
    assert {key: tensor.data_ptr() for key, tensor in tensors(folded).items()} == before
    assert not torch.allclose(logits_and_gradient(folded, x.double(), y)[0], stale, rtol=1e-3)
    assert_same_function(folded, model)


def test_refresh_equals_a_fresh_copy_bit_for_bit() -> None:
    model = classifier("wrn-10-2")
    folded = fold_batchnorm(model)
    sgd_step(model)
    refold(folded, model)
    fresh = tensors(fold_batchnorm(model))
    assert tensors(folded).keys() == fresh.keys()
    assert all(torch.equal(tensor, fresh[key]) for key, tensor in tensors(folded).items())


@pytest.mark.parametrize("name", NAMES)
def test_an_input_gradient_through_the_copy_costs_two_forwards(name: str) -> None:
    folded, (x, y) = fold_batchnorm(classifier(name)), images(1)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        folded(x)
    with FlopCounterMode(display=False) as both:
        logits_and_gradient(folded, x, y)
    assert both.get_total_flops() == 2 * forward.get_total_flops()


def test_an_attack_on_the_copy_leaves_the_model_as_it_was() -> None:
    model = classifier("resnet8")
    before = {key: tensor.clone() for key, tensor in tensors(model).items()}
    folded = fold_batchnorm(model)
    x, y = images()
    cross_entropy(folded(x.requires_grad_()), y).backward()
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in folded.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in tensors(model).items())


def test_the_copy_has_the_class_and_methods_of_the_model_and_stays_in_eval() -> None:
    model = classifier("preact-resnet18")
    folded = fold_batchnorm(model)
    assert type(folded) is type(model)
    assert torch.equal(folded.class_centers(), model.class_centers())
    assert folded.train() is folded
    assert not any(module.training for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_convolutions_of_the_copy_are_channels_last() -> None:
    folded = fold_batchnorm(classifier("resnet8"))
    weights = [parameter for parameter in folded.parameters() if parameter.dim() == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_every_batch_norm_folds_where_activation_comes_after() -> None:
    for name in ("resnet8", "resnet18", "tiny", "tiny-2d", "lenets++"):
        assert unfolded(fold_batchnorm(classifier(name))) == []


def test_only_the_second_batch_norm_of_a_block_folds_where_activation_comes_first() -> None:
    left = unfolded(fold_batchnorm(classifier("wrn-10-2")))
    assert left == [*(f"backbone.stages.{stage}.0.bn1" for stage in range(3)), "backbone.bn"]


class ForeignBackbone(Backbone):
    """Declares no folds, has a bias before its BatchNorm, and runs one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.again = self.twice = nn.Conv2d(8, 8, 3, padding=1)
        self.features = 8

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.bn(self.conv(x)))
        return torch.tanh(self.again(torch.tanh(self.twice(hidden)))).mean(dim=(2, 3))


class FoldableBackbone(ForeignBackbone):
    folds = (("conv", "bn"),)


@pytest.mark.parametrize(("kind", "left"), [(ForeignBackbone, ["backbone.bn"]), (FoldableBackbone, [])])
def test_foreign_and_shared_layers_are_copied(kind: type[ForeignBackbone], left: list[str]) -> None:
    torch.manual_seed(0)
    backbone = kind()
    nn.init.normal_(backbone.bn.running_mean)
    model = Classifier(backbone, LinearHead(8, 10)).double()
    folded = fold_batchnorm(model)
    assert isinstance(folded.backbone, ForeignBackbone)
    assert folded.backbone.again is folded.backbone.twice
    assert unfolded(folded) == left
    assert_same_function(folded, model)
    sgd_step(model)
    refold(folded, model)
    assert_same_function(folded, model)


def test_a_helper_that_is_frozen_in_the_model_stays_frozen_there() -> None:
    model = classifier("tiny")
    model.helper = classifier("tiny").requires_grad_(False).eval()
    folded = fold_batchnorm(model)
    assert unfolded(folded) == []
    assert not any(parameter.requires_grad for parameter in model.helper.parameters())
    assert all(parameter.requires_grad for parameter in model.backbone.parameters())
    assert_same_function(folded.get_submodule("helper"), model.helper)


@pytest.mark.parametrize("name", NAMES)
def test_a_bf16_copy_gives_fp32_logits_near_the_model(name: str) -> None:
    model = classifier(name)
    folded, (x, y) = fold_batchnorm(model, torch.bfloat16), images()
    sgd_step(model)
    refold(folded, model)
    expected, expected_gradient = logits_and_gradient(model.eval(), x, y)
    logits, gradient = logits_and_gradient(folded, x, y)
    assert logits.dtype == gradient.dtype == torch.float32
    assert torch.cosine_similarity(logits, expected).min() > 0.99
    assert torch.cosine_similarity(gradient.flatten(), expected_gradient.flatten(), dim=0) > 0.9


def test_a_bf16_copy_computes_the_backbone_in_bf16_and_the_head_in_fp32() -> None:
    folded = fold_batchnorm(classifier("wrn-10-2"), torch.bfloat16)
    convolutions = [module for module in folded.modules() if isinstance(module, nn.Conv2d)]
    # All but the one that reads the image.
    assert [convolution.weight.dtype == torch.bfloat16 for convolution in convolutions].count(False) == 1
    x, _ = images()
    assert folded.backbone.feature_map(x).dtype == torch.bfloat16
    assert folded.embed(x).dtype == folded.class_centers().dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_a_bf16_copy_tells_images_apart_that_bf16_would_round_to_one(name: str) -> None:
    # As TRADES' attack must, which begins a thousandth away and climbs on what differs there.
    model = classifier(name).eval()
    x = torch.full((1, 3, 16, 16), 0.75)
    near = x + 0.001
    assert torch.equal(near.bfloat16(), x.bfloat16()) and not torch.equal(model(near), model(x))
    # The first layer's products are those of fp32, rounded once.
    found: list[Tensor] = []
    folded, exact = fold_batchnorm(model, torch.bfloat16), fold_batchnorm(model)
    for network in (folded, exact):
        first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
        first.register_forward_hook(lambda layer, inputs, output: found.append(output.clone()))
        network(x)
        network(near)
    assert torch.equal(found[0], found[2].bfloat16()) and torch.equal(found[1], found[3].bfloat16())
    assert not torch.equal(found[0], found[1])


def test_bf16_reaches_a_foreign_model_too() -> None:
    torch.manual_seed(0)
    model, (x, _) = nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.ReLU(), nn.Linear(16, 10)), images()
    logits = fold_batchnorm(model, torch.bfloat16)(x)
    assert logits.dtype == torch.float32
    assert torch.cosine_similarity(logits, model(x)).min() > 0.99
