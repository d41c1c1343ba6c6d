"""Small backbones: `Tiny` for small images such as 8x8 digits, and LeNet++ (Wen et al. 2016) with a 2-D embedding."""

from typing import ClassVar, cast

from torch import Tensor, nn

from advdpnp.models.classifier import Backbone
from advdpnp.models.resnet import convolution

# Of an image for LeNets++, in pixels.
SMALLEST_SIDE = 12


class Tiny(Backbone):
    """Two 3x3 convolutions with BatchNorm, the second of stride 2, then a linear layer; the embedding is >= 0.

    Args:
        image_size: (H, W).
        channels: channels of the image.
        features: width D of the embedding.
    """

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, image_size: tuple[int, int], channels: int = 3, features: int = 64) -> None:
        super().__init__()
        height, width = image_size
        self.conv1 = convolution(channels, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = convolution(16, 32, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(32)
        self.activation1, self.activation2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.linear = nn.Linear(32 * ((height + 1) // 2) * ((width + 1) // 2), features)
        self.activation: nn.Module = nn.ReLU()
        self.features, self.map_channels = features, 32

    def feature_map(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> (B, 32, ceil(H / 2), ceil(W / 2)), what the second convolution gives."""
        hidden = self.activation1(self.bn1(self.conv1(x)))
        return cast(Tensor, self.activation2(self.bn2(self.conv2(hidden))))

    def pool(self, feature_map: Tensor) -> Tensor:
        """Last feature map (B, 32, h, w) -> embedding (B, features), by the linear layer and its activation."""
        embedding: Tensor = self.activation(self.linear(feature_map.flatten(1)))
        return embedding


class Tiny2D(Tiny):
    """Tiny with a 2-D embedding and one PReLU slope per coordinate, as in LeNets++, for plots of the embedding.

    Args:
        image_size: (H, W).
        channels: channels of the image.
    """

    def __init__(self, image_size: tuple[int, int], channels: int = 3) -> None:
        super().__init__(image_size, channels, features=2)
        self.activation = nn.PReLU(2)


class LeNetsPlusPlus(Backbone):
    """Three stages of two 5x5 convolutions, then a linear map to 2-D; one PReLU slope per channel, as in Caffe.

    Args:
        image_size: (H, W), each at least 12.
        channels: channels of the image.
    Raises:
        ValueError: an image smaller than 12x12.
    """

    def __init__(self, image_size: tuple[int, int], channels: int = 3) -> None:
        super().__init__()
        height, width = image_size
        if min(image_size) < SMALLEST_SIDE:
            raise ValueError(
                f"lenets++ needs images of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels; got {height}x{width}: "
                "take tiny-2d, or a larger image size"
            )
        self.stages = nn.Sequential(*_stage(channels, 32, 2), *_stage(32, 64, 2), *_stage(64, 128, 3))
        self.linear = nn.Linear(128 * _pooled(height) * _pooled(width), 2)
        self.activation = nn.PReLU(2)
        self.features, self.map_channels = 2, 128
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def feature_map(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> (B, 128, h, w), what the third stage gives."""
        return cast(Tensor, self.stages(x))

    def pool(self, feature_map: Tensor) -> Tensor:
        """Last feature map (B, 128, h, w) -> embedding (B, 2), by the linear layer and its slopes."""
        embedding: Tensor = self.activation(self.linear(feature_map.flatten(1)))
        return embedding


def _stage(in_channels: int, out_channels: int, pool: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 5, padding=2),
        nn.PReLU(out_channels),
        nn.Conv2d(out_channels, out_channels, 5, padding=2),
        nn.PReLU(out_channels),
        nn.MaxPool2d(pool, stride=2),
    ]


def _pooled(side: int) -> int:
    return (side // 4 - 3) // 2 + 1
