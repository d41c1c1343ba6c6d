"""Feature separation and recalibration (FSR, Kim et al. 2023): modules between a feature map and its pooling.

An element of the map counts as robust or not by a learned score. What is robust is kept, the rest is recalibrated and
added again.
"""

from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from advdpnp.models.classifier import Backbone
from advdpnp.models.heads import LinearHead
from advdpnp.models.resnet import convolution
from advdpnp.ranges import Positive, check

# In the authors' code, it keeps the logarithm of a score of 0 or 1 finite.
_TINY = 1e-8
# Half of the smallest uniform above 0 that `advdpnp.noise` draws: 0 has no finite Gumbel number.
_SMALLEST_UNIFORM = 2.0**-25


def gumbel(uniforms: Tensor) -> Tensor:
    """-log(-log u), a standard Gumbel number for each uniform u in [0, 1), of any shape; finite for u = 0 too."""
    return -torch.log(-torch.log(uniforms.clamp_min(_SMALLEST_UNIFORM)))


def soft_mask(scores: Tensor, temperature: float, uniforms: Tensor | None = None) -> Tensor:
    """How robust each element is: the first component of a Gumbel softmax of (log a, log(1 - a)), a = sigmoid(score).

    Args:
        scores: (B, K, h, w), any real number.
        temperature: > 0; near 0 almost every element of the mask is 0 or 1.
        uniforms: (B, 2, K, h, w) in [0, 1), for a random mask; None for the one without noise, where both Gumbel
            numbers are equal.
    Returns:
        (B, K, h, w) in [0, 1], at least fp32.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    odds = torch.log(torch.sigmoid(scores) + _TINY) - torch.log(torch.sigmoid(-scores) + _TINY)
    if uniforms is not None:
        noise = gumbel(uniforms.to(scores.dtype))
        odds = odds + noise[:, 0] - noise[:, 1]
    return torch.sigmoid(odds / temperature)


class MapNetwork(nn.Module):
    """Three 3x3 convolutions without bias, BatchNorm and ReLU after the first two: a map of the shape that it gets.

    Args:
        channels: K, of the map.
        hidden: channels in between.
    """

    folds: ClassVar[tuple[tuple[str, str], ...]] = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(channels, hidden, 3), nn.BatchNorm2d(hidden)
        self.conv2, self.bn2 = convolution(hidden, hidden, 3), nn.BatchNorm2d(hidden)
        self.conv3 = convolution(hidden, channels, 3)

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, K, h, w) -> (B, K, h, w)."""
        hidden = relu(self.bn1(self.conv1(feature_map)), inplace=True)
        return cast(Tensor, self.conv3(relu(self.bn2(self.conv2(hidden)), inplace=True)))


class Parts(NamedTuple):
    """What becomes of a feature map u under a mask m, each (B, K, h, w).

    Attributes:
        robust: m u.
        nonrobust: (1 - m) u.
        recalibrated: (1 - m) u + (1 - m) R((1 - m) u).
    """

    robust: Tensor
    nonrobust: Tensor
    recalibrated: Tensor

    @property
    def together(self) -> Tensor:
        """The map that is pooled: robust and recalibrated features, added."""
        return self.robust + self.recalibrated


class RecalibratedBackbone(Backbone):
    """A backbone whose last feature map is separated and recalibrated before it is pooled.

    `forward`, and so every attack and every evaluation, has the mask without noise, in training mode too; training asks
    for a random one through `separate`. The auxiliary head is there for the losses of training alone. So any classifier
    can be built on such a backbone, whatever its head.

    Args:
        backbone: one with a feature map.
        num_classes: C, of the auxiliary head.
        temperature: of the mask, > 0.
        hidden: channels inside the two networks.
    Raises:
        ValueError: the backbone has no feature map.
    """

    def __init__(self, backbone: Backbone, num_classes: int, temperature: float = 0.1, hidden: int = 64) -> None:
        super().__init__()
        check("temperature", temperature, Positive)
        if not backbone.map_channels:
            raise ValueError(
                f"separation needs a backbone with `feature_map`, `pool` and `map_channels`; {type(backbone).__name__} "
                "has none: take another, such as resnet18"
            )
        self.backbone, self.temperature = backbone, temperature
        self.features, self.map_channels = backbone.features, backbone.map_channels
        self.separation = MapNetwork(self.map_channels, hidden)
        self.recalibration = MapNetwork(self.map_channels, hidden)
        self.auxiliary = LinearHead(self.features, num_classes)

    def separate(self, raw_map: Tensor, uniforms: Tensor | None = None) -> Parts:
        """Separate and recalibrate the map of the inner backbone, (B, K, h, w); `uniforms` as in `soft_mask`."""
        mask = soft_mask(self.separation(raw_map), self.temperature, uniforms)
        nonrobust = (1 - mask) * raw_map
        return Parts(mask * raw_map, nonrobust, nonrobust + (1 - mask) * self.recalibration(nonrobust))

    def feature_map(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> (B, K, h, w), separated without noise and recalibrated."""
        return self.separate(self.backbone.feature_map(x)).together

    def pool(self, feature_map: Tensor) -> Tensor:
        """Feature map (B, K, h, w) -> embedding (B, features), as the inner backbone does."""
        return self.backbone.pool(feature_map)

    def auxiliary_logits(self, part: Tensor) -> Tensor:
        """What the auxiliary head says of a part alone: (B, K, h, w) -> (B, C)."""
        return cast(Tensor, self.auxiliary(self.pool(part)))
