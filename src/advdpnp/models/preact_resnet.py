"""Pre-activation residual networks (He et al. 2016): PreActResNet, and Wide ResNet (Zagoruyko and Komodakis 2016)."""

import math
from typing import ClassVar, cast

from torch import Tensor, nn

from advdpnp.models.classifier import Backbone
from advdpnp.models.resnet import convolution, stack_stages


class PreActBlock(nn.Module):
    """a = relu(bn(x)); conv(relu(bn(conv(a)))) + x, where a block that changes shape adds a 1x1 convolution of a.

    Args:
        in_channels: channels of x.
        out_channels: channels of the result.
        stride: 1, or 2 to halve the image.
    """

    # Only bn2 follows a convolution directly; bn1 reads a sum.
    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn2"),)

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = convolution(in_channels, out_channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = convolution(out_channels, out_channels, 3)
        self.activation1, self.activation2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        keeps_shape = stride == 1 and in_channels == out_channels
        self.shortcut = None if keeps_shape else convolution(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = self.activation1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        residual: Tensor = self.conv2(self.activation2(self.bn2(self.conv1(active))))
        return residual + shortcut


class PreActResNet(Backbone):
    """Pre-activation ResNet as in Bag of Tricks, AWP and DIO; the embedding is >= 0.

    Args:
        depths: number of blocks of each stage; (2, 2, 2, 2) is PreActResNet-18.
        widths: channels of each stage; the last is the embedding's width D.
        stem: channels of the first convolution.
        channels: channels of the image.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        widths: tuple[int, ...] = (64, 128, 256, 512),
        stem: int = 64,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = convolution(channels, stem, 3)
        self.stages = stack_stages(PreActBlock, depths, widths, stem)
        self.bn = nn.BatchNorm2d(widths[-1])
        self.activation = nn.ReLU(inplace=True)
        self.features = self.map_channels = widths[-1]

    def feature_map(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> (B, D, h, w), the map before global average pooling."""
        return cast(Tensor, self.activation(self.bn(self.stages(self.conv1(x)))))


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
        ValueError: the depth is not 6 n + 4 with n >= 1.
    """

    def __init__(self, depth: int, width: int, channels: int = 3) -> None:
        blocks = blocks_per_stage(depth)
        super().__init__((blocks,) * 3, (16 * width, 32 * width, 64 * width), stem=16, channels=channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
