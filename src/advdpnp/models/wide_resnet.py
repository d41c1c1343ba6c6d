"""Wide residual networks (Zagoruyko and Komodakis, 2016), without dropout."""

import math

from torch import nn

from advdpnp.models.preact_resnet import PreActResNet


def blocks_per_stage(depth: int) -> int:
    """Number n of blocks in each of the three stages, from depth = 6 n + 4.

    Raises:
        ValueError: the depth has no such n >= 1.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"the depth of a wide ResNet must be 6 n + 4, as in 16, 28 or 34; got {depth}")
    return blocks


class WideResNet(PreActResNet):
    """WRN-depth-width as in TRADES and Bag of Tricks: a pre-activation ResNet of three stages, D = 64 width.

    Args:
        depth: 6 n + 4.
        width: factor on the widths 16, 32 and 64, at least 1.
        channels: channels of the image.
    Raises:
        ValueError: no n fits the depth.
    """

    def __init__(self, depth: int, width: int, channels: int = 3) -> None:
        blocks = blocks_per_stage(depth)
        super().__init__((blocks,) * 3, (16 * width, 32 * width, 64 * width), stem=16, channels=channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
