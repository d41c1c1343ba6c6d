"""Autocast that leaves the layer that reads the image in float32."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from advdpnp.models.first_layer import computed_in_bf16


def network() -> nn.Sequential:
    """Its first layer adds up differences: of a gray image it says 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(144, 5))
    with torch.no_grad():
        model[0].weight.sub_(model[0].weight.mean(dim=(1, 2, 3), keepdim=True))
        model[0].bias.zero_()
    return model


def test_the_first_layer_reads_float32_and_is_rounded_once_and_the_others_are_autocast() -> None:
    model, x = network(), torch.full((1, 3, 10, 10), 0.75) + torch.linspace(0, 0.003, 100).view(10, 10)
    assert len(x.bfloat16().unique()) < 3
    outputs: list[Tensor] = []
    for layer in model:
        layer.register_forward_hook(lambda layer, inputs, output: outputs.append(output))
    with torch.no_grad(), computed_in_bf16(model, "cpu"):
        model(x)
    first, second = model[0], model[2]
    exact = functional.conv2d(x.double(), first.weight.double())
    torch.testing.assert_close(outputs[0].double(), exact, rtol=2**-8, atol=1e-6)
    assert outputs[0].dtype == torch.bfloat16 and exact.abs().max() > 1e-4
    # The product of rounded weights.
    rounded = functional.conv2d(outputs[1], second.weight.bfloat16(), second.bias.bfloat16())
    assert torch.equal(outputs[2], rounded) and outputs[4].dtype == torch.bfloat16


def test_afterwards_the_network_is_as_it_was() -> None:
    model, x = network(), torch.rand(2, 3, 10, 10)
    before = model(x)

    def forward(x: Tensor) -> Tensor:
        return torch.ones(len(x), 4, 8, 8)

    with computed_in_bf16(model, "cpu"):
        model(x)
    assert torch.equal(model(x), before) and "forward" not in vars(model[0])
    model[0].forward = forward
    with computed_in_bf16(model, "cpu"):
        model(x)
    assert model[0].forward is forward
    with computed_in_bf16(nn.Flatten(), "cpu"):
        assert torch.equal(nn.Flatten()(x), x.flatten(1))
