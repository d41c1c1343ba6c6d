"""Convolutions with packed weights against torch's own, in float64 too, on sizes that leave rests."""

import copy

import pytest
import torch
from torch import Tensor, nn

from advdpnp.experiments import experiment
from advdpnp.models.folding import fold_batchnorm, refold
from advdpnp.models.packed_convolution import PackedConv2d, pack_convolutions

# Kernel, stride, padding, and sides of the input.
SHAPES = [
    (3, 1, 1, (4, 4)),
    (3, 2, 1, (8, 8)),
    (3, 2, 1, (7, 9)),
    (1, 2, 0, (8, 8)),
    (1, 1, 0, (5, 3)),
    (3, 1, 0, (6, 5)),
    (5, 3, 2, (11, 8)),
    ((3, 1), (1, 2), (1, 0), (5, 6)),
]


def frozen(layer: nn.Module) -> nn.Module:
    layer.requires_grad_(False).to(memory_format=torch.channels_last)
    return layer


def output_and_gradient(layer: nn.Module, x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    out = layer(x)
    weights = torch.cos(torch.arange(out.numel(), dtype=torch.float64)).view(out.shape) if weights is None else weights
    (gradient,) = torch.autograd.grad((out * weights.to(out.dtype)).sum(), x)
    return out.detach(), gradient


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=["channels_last", "nchw"])
def test_a_packed_convolution_is_the_convolution(shape: tuple, layout: torch.memory_format) -> None:
    kernel, stride, padding, sides = shape
    torch.manual_seed(0)
    plain = frozen(nn.Conv2d(160, 480, kernel, stride, padding))
    packed = copy.deepcopy(plain)
    pack_convolutions(packed)
    assert type(packed) is PackedConv2d
    x = torch.randn(3, 160, *sides).contiguous(memory_format=layout)
    exact = output_and_gradient(copy.deepcopy(plain).double(), x.double())
    for found, torchs, true in zip(output_and_gradient(packed, x), output_and_gradient(plain, x), exact, strict=True):
        assert found.shape == torchs.shape and found.dtype == torchs.dtype
        # Up to 4,320 products of size 1 are added.
        error = max(float((torchs - true).abs().max()), 1e-5)
        assert float((found - true).abs().max()) <= 4 * error


def test_a_gradient_that_is_one_number_for_all_pixels_arrives() -> None:
    plain = frozen(nn.Conv2d(128, 256, 3, padding=1))
    packed = copy.deepcopy(plain)
    pack_convolutions(packed)
    x = torch.randn(2, 128, 4, 4)
    # As a mean over the pixels gives it: expanded, without memory of its own.
    one = torch.ones(1, 1, 1, 1).expand(2, 256, 4, 4)
    torch.testing.assert_close(output_and_gradient(packed, x, one), output_and_gradient(plain, x, one))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_folded_network_stays_what_it_is_and_follows_the_weights(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = experiment("cifar10/resnet18/at", "paper").build().eval()
    plain, packed = fold_batchnorm(model, dtype), fold_batchnorm(model, dtype)
    pack_convolutions(packed)
    layers = [layer for layer in packed.modules() if isinstance(layer, PackedConv2d)]
    packs = dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert len(layers) == (13 if packs else 0) and not any(isinstance(layer, PackedConv2d) for layer in plain.modules())
    x = torch.rand(4, 3, 32, 32)
    bound = {torch.float32: 1e-5, torch.bfloat16: 3e-2}[dtype]
    for _ in range(2):
        first, second = output_and_gradient(packed, x), output_and_gradient(plain, x)
        for found, expected in zip(first, second, strict=True):
            assert float((found - expected).abs().max()) <= bound * float(expected.abs().max())
        # Other weights, in place, as a training step leaves them.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.05)
        before = first[0]
        refold(packed, model)
        refold(plain, model)
        assert not torch.equal(packed(x), before)


def test_weights_are_packed_once_for_each_size_and_direction() -> None:
    layer = frozen(nn.Conv2d(128, 128, 3, padding=1))
    pack_convolutions(layer)
    for images in (2, 5, 2):
        output_and_gradient(layer, torch.randn(images, 128, 4, 4))
    with torch.no_grad():
        layer(torch.randn(2, 128, 6, 6))
    assert set(layer._packed) == {("ahead", (4, 4)), ("back", (4, 4)), ("ahead", (6, 6))}
    kept = layer._packed["ahead", (4, 4)]
    layer(torch.randn(1, 128, 4, 4))
    assert layer._packed["ahead", (4, 4)] is kept
    twin = copy.deepcopy(layer)
    assert "_packed" not in vars(twin)
    x = torch.randn(1, 128, 4, 4)
    assert torch.equal(twin(x), layer(x))
    # One image without a batch goes torch's own way.
    torch.testing.assert_close(layer(x[0]), layer(x)[0])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(256, 256, 3, groups=2),
        nn.Conv2d(128, 128, 3, dilation=2),
        nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(128, 128, 3, padding="same"),
        nn.Conv2d(128, 128, 3).double(),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(128, 128, 3)),
        nn.ConvTranspose2d(128, 128, 3),
    ],
    ids=["small", "groups", "dilation", "reflect", "same", "double", "weight_norm", "transposed"],
)
def test_other_layers_are_left_alone(layer: nn.Module) -> None:
    kind = type(layer.requires_grad_(False))
    pack_convolutions(layer)
    assert type(layer) is kind


def test_a_layer_that_learns_is_left_alone() -> None:
    layer = nn.Conv2d(128, 128, 3)
    pack_convolutions(layer)
    assert type(layer) is nn.Conv2d


def test_bf16_is_packed_where_onednn_computes_in_it() -> None:
    layer = frozen(nn.Conv2d(128, 128, 3).to(torch.bfloat16))
    pack_convolutions(layer)
    assert (type(layer) is PackedConv2d) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
