"""The weights under the layer names of RobustBench's own architectures, whose code then loads them strictly."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advdpnp.models.classifier import Classifier, Head
from advdpnp.models.heads import LinearHead, MultiHead, PrototypeHead
from advdpnp.models.preact_resnet import PreActResNet, WideResNet
from advdpnp.models.resnet import ResNet

# RobustBench's networks are written for this size: three channels in conv1, pooling over the whole last map.
IMAGE_SHAPE = (3, 32, 32)

_BLOCKS = {"18": "[2, 2, 2, 2]", "34": "[3, 4, 6, 3]"}


@dataclass(frozen=True)
class Architecture:
    """A network of RobustBench.

    Args:
        label: as its leaderboard has it, such as ResNet-18.
        module: where RobustBench defines it.
        names: what is imported from there.
        call: Python that makes it.
    """

    label: str
    module: str
    names: str
    call: str


def architecture(backbone: str, image_shape: tuple[int, int, int], num_classes: int) -> Architecture:
    """RobustBench's counterpart of a backbone.

    Args:
        backbone: a name that `advdpnp.models.build_backbone` knows.
        image_shape: (channels, H, W).
        num_classes: C.
    Raises:
        ValueError: RobustBench has none.
    """
    if image_shape != IMAGE_SHAPE:
        raise ValueError(
            f"--format robustbench: its networks take images of {'x'.join(map(str, IMAGE_SHAPE))}; "
            f"got {'x'.join(map(str, image_shape))}: choose another format"
        )
    where = "robustbench.model_zoo.architectures"
    if match := re.fullmatch(r"resnet(18|34)", backbone):
        call = f"ResNet(BasicBlock, {_BLOCKS[match[1]]}, num_classes={num_classes})"
        return Architecture(f"ResNet-{match[1]}", f"{where}.resnet", "BasicBlock, ResNet", call)
    if backbone == "preact-resnet18":
        # V2: the shortcut reads what follows the first BatchNorm and ReLU, as in He et al.; V1 reads the block's input.
        call = f"PreActResNet(PreActBlockV2, {_BLOCKS['18']}, num_classes={num_classes}, bn_before_fc=True)"
        return Architecture("PreActResNet-18", f"{where}.resnet", "PreActBlockV2, PreActResNet", call)
    if match := re.fullmatch(r"wrn-(\d+)-(\d+)", backbone):
        call = f"WideResNet(depth={match[1]}, widen_factor={match[2]}, num_classes={num_classes})"
        return Architecture(f"WideResNet-{match[1]}-{match[2]}", f"{where}.wide_resnet", "WideResNet", call)
    raise ValueError(
        f"--format robustbench: RobustBench has no network like {backbone}; "
        "it has resnet18, resnet34, preact-resnet18 and wrn-DEPTH-WIDTH: choose another format"
    )


_STAGE = re.compile(r"^stages\.(\d+)\.(\d+)\.")


def _resnet_name(name: str) -> str:
    return _STAGE.sub(lambda at: f"layer{int(at[1]) + 1}.{at[2]}.", name)


def _preact_name(name: str) -> str:
    return _resnet_name(name).replace(".shortcut.", ".shortcut.0.")


def _wide_name(name: str) -> str:
    name = _STAGE.sub(lambda at: f"block{int(at[1]) + 1}.layer.{at[2]}.", name)
    return re.sub(r"^bn\.", "bn1.", name).replace(".shortcut.", ".convShortcut.")


# Class of the backbone -> how RobustBench calls its tensors, and its last layer.
_NAMES = {
    ResNet: (_resnet_name, "linear"),
    PreActResNet: (_preact_name, "linear"),
    WideResNet: (_wide_name, "fc"),
}


def as_linear(head: Head) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) of the linear layer that gives a head's logits.

    Unified prototypes have z_j = c_j . f / alpha: weight c_j / alpha, bias 0. Several heads have the mean of their
    weights, since their logits are averaged.

    Raises:
        ValueError: the head is no linear layer.
    """
    # The class itself: a subclass may compute its logits otherwise.
    if type(head) is LinearHead:
        return head.linear.weight.detach(), head.linear.bias.detach()
    if type(head) is PrototypeHead:
        weight = head.prototypes.detach() / head.alpha
        return weight, torch.zeros(len(weight))
    if type(head) is MultiHead:
        weight = head.weight.detach().mean(dim=0)
        return weight, torch.zeros(len(weight))
    raise ValueError(f"--format robustbench: a {type(head).__name__} is no linear layer: choose another format")


def robustbench_weights(model: Classifier) -> dict[str, Tensor]:
    """State of the classifier under RobustBench's names.

    Args:
        model: a residual network with a linear head or unified prototypes.
    Raises:
        ValueError: backbone or head has no counterpart there.
    """
    backbone = model.backbone
    if any(isinstance(module, nn.PReLU) for module in backbone.modules()):
        raise ValueError("--format robustbench: RobustBench has no residual network with PReLU: choose another format")
    if type(backbone) not in _NAMES:
        raise ValueError(
            f"--format robustbench: RobustBench has no network like a {type(backbone).__name__}, such as one with an "
            "embedding of linear(D): choose another format"
        )
    rename, last = _NAMES[type(backbone)]
    weights = {rename(name): tensor.detach() for name, tensor in backbone.state_dict().items()}
    weight, bias = as_linear(model.head)
    return {**weights, f"{last}.weight": weight, f"{last}.bias": bias}
