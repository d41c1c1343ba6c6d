import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from advdpnp.models import BACKBONES, build_backbone, check_backbone
from advdpnp.models.classifier import Classifier, with_embedding
from advdpnp.models.heads import LinearHead

LIGHT = [name for name in BACKBONES if not name.startswith("wrn")]


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        ("resnet18", 11_173_962, 555_422_720),
        ("wrn-34-10", 46_160_474, 6_658_906_368),
        ("resnet8", 78_042, 12_501_632),
    ],
)
def test_parameters_and_multiply_adds_are_the_published_ones(name: str, parameters: int, multiply_adds: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, (3, 32, 32))
        model = Classifier(backbone, LinearHead(backbone.features, 10)).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, 32, 32))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert counter.get_total_flops() == 2 * multiply_adds


@pytest.mark.parametrize("shape", [(1, 13, 16), (3, 32, 32), (4, 21, 17)])
@pytest.mark.parametrize("name", [*LIGHT, "wrn-10-1"])
def test_every_backbone_embeds_images_of_any_shape(name: str, shape: tuple[int, int, int]) -> None:
    backbone = build_backbone(name, shape).eval()
    with torch.no_grad():
        assert backbone(torch.rand(2, *shape)).shape == (2, backbone.features)


@pytest.mark.parametrize("name", [*LIGHT, "wrn-10-1"])
def test_every_backbone_is_its_feature_map_and_the_pooling(name: str) -> None:
    backbone, x = build_backbone(name, (1, 13, 16)).eval(), torch.rand(2, 1, 13, 16)
    with torch.no_grad():
        last = backbone.feature_map(x)
        assert last.dim() == 4 and last.shape[:2] == (2, backbone.map_channels)
        assert torch.equal(backbone.pool(last), backbone(x))
        wider = with_embedding(backbone, "linear(5)")
        assert torch.equal(wider.pool(wider.feature_map(x)), wider(x)) and wider(x).shape == (2, 5)


@pytest.mark.parametrize("name", [*LIGHT, "wrn-10-1"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    backbone = build_backbone(name, (1, 12, 12))
    backbone(torch.rand(2, 1, 12, 12)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("name", [*LIGHT, "wrn-10-1"])
def test_declared_folds_are_a_convolution_and_a_batch_norm_of_its_width(name: str) -> None:
    pairs = [
        (module.get_submodule(conv), module.get_submodule(batch_norm))
        for module in build_backbone(name, (1, 12, 12)).modules()
        for conv, batch_norm in getattr(module, "folds", ())
    ]
    for conv, batch_norm in pairs:
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(batch_norm, nn.BatchNorm2d)
        assert conv.out_channels == batch_norm.num_features


def test_a_wide_resnet_is_found_by_pattern() -> None:
    def features(name: str) -> int:
        with torch.device("meta"):
            return build_backbone(name, (3, 32, 32)).features

    assert (features("wrn-16-4"), features("wrn-28-10")) == (256, 640)


def test_initialization_is_a_function_of_the_seed() -> None:
    def weights() -> list[Tensor]:
        torch.manual_seed(3)
        return list(build_backbone("tiny", (1, 8, 8)).parameters())

    assert all(torch.equal(first, second) for first, second in zip(weights(), weights(), strict=True))


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet-18'; nearest: (preact-)?resnet18, "):
        build_backbone("resnet-18", (3, 32, 32))
    with pytest.raises(ValueError, match="unknown backbone 'wrn-28-0'; nearest: wrn-28-10"):
        check_backbone("wrn-28-0")


def test_a_depth_that_no_wide_resnet_has_is_found_before_building() -> None:
    with pytest.raises(ValueError, match=r"must be 6 n \+ 4, as in 16, 28 or 34; got 33"):
        check_backbone("wrn-33-10")
