import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, relu

from advdpnp.models.resnet import BasicBlock, ResNet

State = dict[str, Tensor]


def small_net() -> ResNet:
    """Two stages of one and two blocks, float64, eval mode, statistics that are not the initial ones."""
    torch.manual_seed(0)
    net = ResNet((1, 2), (4, 6), channels=2).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return net


def normalized(state: State, name: str, x: Tensor) -> Tensor:
    mean, var = state[name + ".running_mean"], state[name + ".running_var"]
    return batch_norm(x, mean, var, state[name + ".weight"], state[name + ".bias"])


def reference_block(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    out = conv2d(x, state[name + ".conv1.weight"], stride=stride, padding=1)
    out = relu(normalized(state, name + ".bn1", out))
    out = normalized(state, name + ".bn2", conv2d(out, state[name + ".conv2.weight"], padding=1))
    if name + ".shortcut.0.weight" in state:
        x = normalized(state, name + ".shortcut.1", conv2d(x, state[name + ".shortcut.0.weight"], stride=stride))
    return relu(out + x)


def test_forward_equals_the_equations_written_with_functions() -> None:
    net, x = small_net(), torch.rand(3, 2, 9, 10, dtype=torch.float64)
    state = net.state_dict()
    out = relu(normalized(state, "bn1", conv2d(x, state["conv1.weight"], padding=1)))
    for name, stride in (("stages.0.0", 1), ("stages.1.0", 2), ("stages.1.1", 1)):
        out = reference_block(state, name, out, stride)
    torch.testing.assert_close(net.feature_map(x), out)
    torch.testing.assert_close(net(x), out.flatten(2).mean(2))


def test_gradient_is_right_in_train_mode() -> None:
    net = small_net().train()
    x = torch.rand(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, x)


def test_only_a_block_that_changes_shape_projects_its_shortcut() -> None:
    assert isinstance(BasicBlock(4, 4, 1).shortcut, nn.Identity)
    assert len(list(BasicBlock(4, 4, 2).shortcut.children())) == 2
    assert len(list(BasicBlock(4, 8, 1).shortcut.children())) == 2


def test_embedding_is_not_negative() -> None:
    assert small_net()(torch.randn(2, 2, 8, 8, dtype=torch.float64)).min() >= 0


def test_resnet18_maps_a_cifar_image_to_four_by_four() -> None:
    with torch.device("meta"):
        assert ResNet((2, 2, 2, 2)).feature_map(torch.empty(1, 3, 32, 32)).shape == (1, 512, 4, 4)
