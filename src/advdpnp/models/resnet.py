"""Post-activation residual networks with the CIFAR stem (He et al., 2016): convolution, BatchNorm, ReLU."""

from typing import ClassVar, cast

from torch import Tensor, nn

from advdpnp.models.classifier import Backbone


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Convolution without bias, padded so that stride 1 keeps the image size; `kernel` is odd."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)


def stack_stages(
    block: type[nn.Module], depths: tuple[int, ...], widths: tuple[int, ...], in_channels: int
) -> nn.Sequential:
    """Residual stages; the first block of every stage but the first halves the image.

    Args:
        block: called as block(in_channels, out_channels, stride).
        depths: number of blocks of each stage, each at least 1.
        widths: channels of each stage.
        in_channels: channels that enter the first stage.
    Returns:
        One nn.Sequential of blocks per stage.
    """
    stages = []
    for number, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        first = block(in_channels, width, 1 if number == 0 else 2)
        stages.append(nn.Sequential(first, *(block(width, width, 1) for _ in range(depth - 1))))
        in_channels = width
    return nn.Sequential(*stages)


class Projection(nn.Sequential):
    """1x1 convolution and BatchNorm: the shortcut where a block changes shape."""

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("0", "1"),)

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(convolution(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)).

    Args:
        in_channels: channels of x.
        out_channels: channels of the result.
        stride: 1, or 2 to halve the image.
    """

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = convolution(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.activation1, self.activation2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        keeps_shape = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if keeps_shape else Projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.activation1(self.bn1(self.conv1(x)))
        return cast(Tensor, self.activation2(self.bn2(self.conv2(out)) + self.shortcut(x)))


class ResNet(Backbone):
    """Post-activation ResNet as in TRADES, MART, HAT and FSR; the embedding is >= 0.

    Args:
        depths: number of blocks of each stage; (2, 2, 2, 2) is ResNet-18.
        widths: channels of each stage; the last is the embedding's width D.
        channels: channels of the image.
    """

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"),)

    def __init__(
        self, depths: tuple[int, ...], widths: tuple[int, ...] = (64, 128, 256, 512), channels: int = 3
    ) -> None:
        super().__init__()
        self.conv1 = convolution(channels, widths[0], 3)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.activation = nn.ReLU(inplace=True)
        self.stages = stack_stages(BasicBlock, depths, widths, widths[0])
        self.features = self.map_channels = widths[-1]

    def feature_map(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> (B, D, h, w), the map before global average pooling."""
        return cast(Tensor, self.stages(self.activation(self.bn1(self.conv1(x)))))
