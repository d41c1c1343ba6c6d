"""Networks that train in seconds on a laptop, for the 8x8 digits and for tests."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import relu

from advdpnp.models.classifier import Backbone
from advdpnp.models.resnet import convolution


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
        self.linear = nn.Linear(32 * ((height + 1) // 2) * ((width + 1) // 2), features)
        self.activation: nn.Module = nn.ReLU()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        hidden = relu(self.bn1(self.conv1(x)), inplace=True)
        hidden = relu(self.bn2(self.conv2(hidden)), inplace=True)
        embedding: Tensor = self.activation(self.linear(hidden.flatten(1)))
        return embedding


class Tiny2D(Tiny):
    """Tiny with the end of LeNets++: a plane and a PReLU slope per coordinate, for plots of the embedding.

    Args:
        image_size: (H, W).
        channels: channels of the image.
    """

    def __init__(self, image_size: tuple[int, int], channels: int = 3) -> None:
        super().__init__(image_size, channels, features=2)
        self.activation = nn.PReLU(2)
