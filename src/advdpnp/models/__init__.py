"""Networks: backbones by name. A classifier is a backbone and a head."""

import re
from collections.abc import Callable, Sequence

from torch import nn

from advdpnp.models.adapted import adapt
from advdpnp.models.classifier import Backbone
from advdpnp.models.libraries import LIBRARY_FORMS, is_library_name, network_by_name
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


# Networks of code that this process was told to run; a stored configuration names them, and runs nothing.
_CODE: dict[str, Callable[[Sequence[str]], nn.Module]] = {}


def allow_code(reference: str, build: Callable[[Sequence[str]], nn.Module]) -> None:
    """Let configurations use the network of a callable, such as "net.py:Net", as long as this process lives.

    Args:
        reference: as it stands in configurations.
        build: makes the untrained network from arguments such as "depth=28".
    """
    _CODE[reference] = build


def is_adapted(name: str) -> bool:
    """Whether a backbone is another library's or code's classifier, without its last layer."""
    return ":" in name


def check_backbone(name: str) -> None:
    """Raise ValueError unless `build_backbone` knows the name; what another library knows is asked when it is built."""
    if not is_adapted(name):
        _builder(name)
    elif is_library_name(name):
        network_by_name(name)
    else:
        _code(name)


def build_backbone(
    name: str,
    image_shape: ImageShape,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    arguments: Sequence[str] = (),
) -> Backbone:
    """An untrained backbone by name.

    Args:
        name: a key of `BACKBONES`; wrn-DEPTH-WIDTH with DEPTH = 6 n + 4; or a name of another library, such as
            "timm:resnet18", or of code (`allow_code`): a classifier, whose last linear layer is taken off.
        image_shape: (channels, H, W).
        mean, std: the normalization of such a classifier, for pixels in [0, 1]; empty for none.
        arguments: of code, such as "depth=28".
    Raises:
        ValueError: unknown name (the nearest ones are listed), an image too small for the network, or a library that
            is not installed.
    """
    if not is_adapted(name):
        return _builder(name)(image_shape)
    return adapt(build_network(name, image_shape, arguments), image_shape, mean, std, name)[0]


def build_network(name: str, image_shape: ImageShape, arguments: Sequence[str] = (), num_classes: int = 2) -> nn.Module:
    """The whole untrained classifier that `build_backbone` takes the last layer of; Raises as it does."""
    if is_library_name(name):
        return network_by_name(name).untrained(image_shape, num_classes, {})
    return _code(name)(arguments)


def _code(name: str) -> Callable[[Sequence[str]], nn.Module]:
    if name not in _CODE:
        raise ValueError(
            f"the network {name} is code, and no configuration makes it run: if you trust it, give --model {name}, or "
            "call advdpnp.external.allow with it"
        )
    return _CODE[name]


def _builder(name: str) -> Callable[[ImageShape], Backbone]:
    if name in BACKBONES:
        return BACKBONES[name]
    if match := re.fullmatch(r"wrn-(\d+)-([1-9]\d*)", name):
        depth, width = int(match[1]), int(match[2])
        blocks_per_stage(depth)
        return lambda shape: WideResNet(depth, width, channels=shape[0])
    near = nearest(name, BACKBONES)
    raise ValueError(
        f"unknown backbone {name!r}; nearest: {near}; any wrn-DEPTH-WIDTH is known too, and {LIBRARY_FORMS}"
    )
