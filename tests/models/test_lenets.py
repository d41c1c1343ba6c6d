from itertools import pairwise

import pytest
import torch
from torch import nn

from advdpnp.models.small import LeNetsPlusPlus


def test_parameters_are_those_of_the_published_layers() -> None:
    net = LeNetsPlusPlus((28, 28), channels=1)
    widths = [1, 32, 32, 64, 64, 128, 128]
    convolutions = sum(25 * before * after + after for before, after in pairwise(widths))
    slopes = sum(widths[1:]) + 2
    plane = 128 * 3 * 3 * 2 + 2
    assert sum(parameter.numel() for parameter in net.parameters()) == convolutions + slopes + plane


@pytest.mark.parametrize("size", [(12, 12), (13, 15), (28, 28), (32, 32), (40, 28)])
def test_the_linear_layer_fits_the_image(size: tuple[int, int]) -> None:
    assert LeNetsPlusPlus(size, channels=1).eval()(torch.rand(1, 1, *size)).shape == (1, 2)


def test_a_smaller_image_is_an_error_with_a_cure() -> None:
    with pytest.raises(ValueError, match="at least 12x12 pixels; got 8x28: take tiny-2d"):
        LeNetsPlusPlus((8, 28))


def test_every_channel_has_its_own_slope_and_starts_at_a_quarter() -> None:
    activations = [module for module in LeNetsPlusPlus((28, 28)).modules() if isinstance(module, nn.PReLU)]
    assert [activation.num_parameters for activation in activations] == [32, 32, 64, 64, 128, 128, 2]
    assert all(torch.all(activation.weight == 0.25) for activation in activations)


def test_the_embedding_keeps_a_quarter_of_what_is_negative() -> None:
    net, x = LeNetsPlusPlus((28, 28), channels=1), torch.rand(8, 1, 28, 28)
    plane = net.linear(net.stages(x).flatten(1))
    torch.testing.assert_close(net(x), torch.where(plane > 0, plane, plane / 4))


def test_weights_start_in_the_xavier_interval_and_biases_at_zero() -> None:
    for module in LeNetsPlusPlus((28, 28)).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            window = module.weight[0, 0].numel()
            bound = (6 / (window * sum(module.weight.shape[:2]))) ** 0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.abs().max() > 0.9 * bound
            assert module.bias is not None
            assert not module.bias.any()
