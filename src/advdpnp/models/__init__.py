"""Networks: backbones by name. A classifier is a backbone and a head."""

import re
from collections.abc import Callable

from advdpnp.models.classifier import Backbone
from advdpnp.models.preact_resnet import PreActResNet, WideResNet, blocks_per_stage
from advdpnp.models.resnet import ResNet
from advdpnp.models.small import LeNetsPlusPlus, Tiny, Tiny2D
from advdpnp.ranges import nearest

ImageShape = tuple[int, int, int]

BACKBONES: dict[str, Callable[[ImageShape], Backbone]] = {
    "resnet18": lambda shape: ResNet((2, 2, 2, 2), channels=shape[0]),
    "resnet34": lambda shape: ResNet((3, 4, 6, 3), channels=shape[0]),
    "preact-resnet18": lambda shape: PreActResNet((2, 2, 2, 2), channels=shape[0]),
    "wrn-28-10": lambda shape: WideResNet(28, 10, channels=shape[0]),
    "wrn-34-10": lambda shape: WideResNet(34, 10, channels=shape[0]),
    "lenets++": lambda shape: LeNetsPlusPlus(shape[1:], channels=shape[0]),
    "resnet8": lambda shape: ResNet((1, 1, 1), (16, 32, 64), channels=shape[0]),
    "tiny": lambda shape: Tiny(shape[1:], channels=shape[0]),
    "tiny-2d": lambda shape: Tiny2D(shape[1:], channels=shape[0]),
}


def check_backbone(name: str) -> None:
    """Raise ValueError unless `build_backbone` knows the name."""
    _builder(name)


def build_backbone(name: str, image_shape: ImageShape) -> Backbone:
    """An untrained backbone by name.

    Args:
        name: a key of `BACKBONES`, or wrn-DEPTH-WIDTH with DEPTH = 6 n + 4.
        image_shape: (channels, H, W).
    Raises:
        ValueError: unknown name (the nearest ones are listed), or an image too small for the network.
    """
    return _builder(name)(image_shape)


def _builder(name: str) -> Callable[[ImageShape], Backbone]:
    if name in BACKBONES:
        return BACKBONES[name]
    if match := re.fullmatch(r"wrn-(\d+)-([1-9]\d*)", name):
        depth, width = int(match[1]), int(match[2])
        blocks_per_stage(depth)
        return lambda shape: WideResNet(depth, width, channels=shape[0])
    near = nearest(name, BACKBONES)
    raise ValueError(f"unknown backbone {name!r}; nearest: {near}; any wrn-DEPTH-WIDTH is known too")
