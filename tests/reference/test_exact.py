"""The network in float64 is the network: torch's own convolution and gradient, and every layer of a residual one."""

import pytest
import torch
from torch import Tensor, nn

from advdpnp.models import build_backbone
from reference.exact import Exact, _Convolution, convolved


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("channels", "filters", "height", "width"), [(1, 4, 8, 8), (3, 16, 5, 7), (16, 8, 1, 2)])
def test_the_convolution_and_its_gradient_are_those_of_torch(
    channels: int, filters: int, height: int, width: int
) -> None:
    x, weight = draw(3, channels, height, width), draw(filters, channels, 3, 3, seed=1)
    x.requires_grad_()
    theirs = nn.functional.conv2d(x, weight, padding=1)
    assert torch.allclose(convolved(x.detach(), weight), theirs, rtol=0, atol=1e-12)
    along = draw(*theirs.shape, seed=2)
    (expected,) = torch.autograd.grad(theirs, x, along)
    (found,) = torch.autograd.grad(_Convolution(weight)(x), x, along)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_a_whole_network_answers_as_in_float64() -> None:
    torch.manual_seed(0)
    network = build_backbone("resnet8", (3, 16, 16)).eval()
    x = draw(2, 3, 16, 16).float()
    expected = network.double()(x.double()).float()
    exact = Exact(network)
    # The stem, both of the first stage and the second of each other one; those of stride 2 stay torch's.
    assert sum(isinstance(layer, _Convolution) for layer in exact.modules()) == 5
    assert torch.allclose(exact(x), expected, rtol=1e-6, atol=1e-7)
