"""What corruptions draw: random numbers that depend on seed, corruption, severity and the image's index alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from advdpnp import noise
from advdpnp.ranges import Integer, check_fields

# Images (B, channels, H, W) float32 in [0, 1].
Array = NDArray[Any]


@dataclass(frozen=True)
class Draws:
    """Random numbers of some images.

    Args:
        seed: any integer.
        stream: the corruption and its severity.
        index: (B,) int64 indices of the images.
    """

    seed: Integer
    stream: str
    index: Tensor

    def __post_init__(self) -> None:
        check_fields(self)

    def uniform(self, name: str, *shape: int) -> Array:
        """(B, *shape) float32 in [0, 1)."""
        return noise.uniform(self.seed, f"{self.stream}/{name}", 0, self.index, shape).numpy()

    def normal(self, name: str, *shape: int) -> Array:
        """(B, *shape) float32, standard normal."""
        return noise.normal(self.seed, f"{self.stream}/{name}", 0, self.index, shape).numpy()

    def between(self, name: str, low: float, high: float, *shape: int) -> Array:
        """(B, *shape) float32 in [low, high)."""
        return np.float32(low) + np.float32(high - low) * self.uniform(name, *shape)
