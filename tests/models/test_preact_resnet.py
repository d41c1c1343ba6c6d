import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, relu

from advdpnp.models.preact_resnet import PreActBlock, PreActResNet

State = dict[str, Tensor]


def small_net() -> PreActResNet:
    """Two stages of one and two blocks, float64, eval mode, statistics that are not the initial ones."""
    torch.manual_seed(0)
    net = PreActResNet((1, 2), (4, 6), stem=4, channels=2).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return net


def activated(state: State, name: str, x: Tensor) -> Tensor:
    mean, var = state[name + ".running_mean"], state[name + ".running_var"]
    return relu(batch_norm(x, mean, var, state[name + ".weight"], state[name + ".bias"]))


def reference_block(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    active = activated(state, name + ".bn1", x)
    inner = conv2d(active, state[name + ".conv1.weight"], stride=stride, padding=1)
    out = conv2d(activated(state, name + ".bn2", inner), state[name + ".conv2.weight"], padding=1)
    projection = state.get(name + ".shortcut.weight")
    return out + (x if projection is None else conv2d(active, projection, stride=stride))


def test_forward_equals_the_equations_written_with_functions() -> None:
    net, x = small_net(), torch.rand(3, 2, 9, 10, dtype=torch.float64)
    state = net.state_dict()
    out = conv2d(x, state["conv1.weight"], padding=1)
    for name, stride in (("stages.0.0", 1), ("stages.1.0", 2), ("stages.1.1", 1)):
        out = reference_block(state, name, out, stride)
    out = activated(state, "bn", out)
    torch.testing.assert_close(net.feature_map(x), out)
    torch.testing.assert_close(net(x), out.flatten(2).mean(2))


def test_gradient_is_right_in_train_mode() -> None:
    net = small_net().train()
    x = torch.rand(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, x)


def test_a_projected_shortcut_has_no_batch_norm() -> None:
    assert isinstance(PreActBlock(4, 8, 2).shortcut, nn.Conv2d)
    assert PreActBlock(4, 4, 1).shortcut is None


def test_embedding_is_not_negative() -> None:
    assert small_net()(torch.randn(2, 2, 8, 8, dtype=torch.float64)).min() >= 0
