"""Images from outside of a training distribution, in the shape of a network's own: other data sets, and noise."""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp import noise
from advdpnp.data.images import Images
from advdpnp.ranges import Count, Integer, check_fields

Shape = tuple[int, int, int]
NoiseKind = Literal["uniform-noise", "gaussian-noise"]
NOISES: tuple[NoiseKind, ...] = get_args(NoiseKind)

# Shares of red, green and blue in a gray level (ITU-R BT.601).
_GRAY = (0.299, 0.587, 0.114)


class Outside(Protocol):
    """Images that a network has not been trained for."""

    @property
    def name(self) -> str:
        """What results call them."""

    @property
    def conversion(self) -> str:
        """What was done to bring them into the network's shape, in words; "" for nothing."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Tensor:
        """(B,) int64 positions -> (B, channels, H, W) float32 in [0, 1]."""


@dataclass(frozen=True, eq=False)
class OutsideImages:
    """Images of another data set.

    Args:
        name: of the data set.
        images: of any size, with 1 or 3 channels.
        shape: (channels, H, W) that they are brought into.
    """

    name: str
    images: Images
    shape: tuple[Count, Count, Count]

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def conversion(self) -> str:
        return conversion_text(self._given, self.shape)

    @property
    def _given(self) -> Shape:
        channels, height, width = self.images.pixels.shape[1:]
        return int(channels), int(height), int(width)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor) -> Tensor:
        return converted(self.images.batch(index)[0], self.shape)


@dataclass(frozen=True)
class OutsideNoise:
    """Images of independent random pixels, as in ODIN (Liang et al. 2018); an image is a function of its position.

    Args:
        name: "uniform-noise", uniform in [0, 1], or "gaussian-noise", normal of mean 0.5 and variance 1, cut to [0, 1].
        shape: (channels, H, W).
        count: how many.
        device: where they are made.
        seed: of the pixels.
    """

    name: NoiseKind
    shape: tuple[Count, Count, Count]
    count: Count
    device: torch.device
    seed: Integer = 0

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def conversion(self) -> str:
        return ""

    def __len__(self) -> int:
        return self.count

    def batch(self, index: Tensor) -> Tensor:
        index = index.to(self.device)
        if self.name == "uniform-noise":
            return noise.uniform(self.seed, self.name, 0, index, self.shape)
        return (0.5 + noise.normal(self.seed, self.name, 0, index, self.shape)).clamp(0, 1)


def converted(x: Tensor, shape: Shape) -> Tensor:
    """Images in another size and number of channels.

    The largest centered part of the new proportions is resized with an antialiased bilinear filter; a gray level
    becomes three equal colors, and colors become their gray level (ITU-R BT.601).

    Args:
        x: (B, 1 or 3, H, W) in [0, 1].
        shape: (1 or 3, h, w).
    Returns:
        (B, *shape) in [0, 1].
    """
    channels, height, width = shape
    if x.shape[2:] != (height, width):
        part = _centered(x, height, width)
        x = functional.interpolate(part, size=(height, width), mode="bilinear", antialias=True).clamp(0, 1)
    if x.shape[1] == channels:
        return x
    return x.expand(-1, channels, -1, -1) if x.shape[1] == 1 else (x * _weights(x)).sum(dim=1, keepdim=True)


def _centered(x: Tensor, height: int, width: int) -> Tensor:
    scale = min(x.shape[2] / height, x.shape[3] / width)
    h, w = max(1, round(scale * height)), max(1, round(scale * width))
    top, left = (x.shape[2] - h) // 2, (x.shape[3] - w) // 2
    return x[:, :, top : top + h, left : left + w]


def _weights(x: Tensor) -> Tensor:
    return torch.tensor(_GRAY, dtype=x.dtype, device=x.device).view(-1, 1, 1)


def conversion_text(given: Shape, shape: Shape) -> str:
    """What `converted` does to images (channels, H, W), in words; "" for nothing."""
    said = []
    if given[1:] != shape[1:]:
        said.append(f"resized from {given[1]}x{given[2]} to {shape[1]}x{shape[2]}")
    if given[0] != shape[0]:
        said.append("gray made color" if given[0] == 1 else "color made gray")
    return ", ".join(said)
