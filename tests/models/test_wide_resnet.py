import math

import pytest
import torch
from torch import nn

from advdpnp.models.preact_resnet import WideResNet, blocks_per_stage


def test_depth_is_six_blocks_per_stage_and_four() -> None:
    assert [blocks_per_stage(depth) for depth in (10, 16, 28, 34)] == [1, 2, 4, 5]


@pytest.mark.parametrize("depth", [4, 18, -2])
def test_other_depths_are_an_error_that_names_good_ones(depth: int) -> None:
    with pytest.raises(ValueError, match=f"as in 16, 28 or 34; got {depth}"):
        blocks_per_stage(depth)


def test_widths_are_16_32_64_times_the_factor_and_stages_halve_twice() -> None:
    with torch.device("meta"):
        net = WideResNet(34, 10)
        assert [len(stage) for stage in net.stages] == [5, 5, 5]
        assert [stage[0].conv1.out_channels for stage in net.stages] == [160, 320, 640]
        assert net.feature_map(torch.empty(1, 3, 32, 32)).shape == (1, 640, 8, 8)
    assert (net.conv1.out_channels, net.features) == (16, 640)


def test_convolutions_start_normal_with_variance_two_over_fan_out() -> None:
    torch.manual_seed(0)
    for module in WideResNet(10, 4).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            expected = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            assert module.weight.std().item() == pytest.approx(expected, rel=0.03)
            assert module.weight.mean().abs().item() < 0.05 * expected


def test_batch_norm_starts_at_one_and_zero() -> None:
    for module in WideResNet(10, 1).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones(module.num_features))
            assert torch.equal(module.bias, torch.zeros(module.num_features))
