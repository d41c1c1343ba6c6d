"""Small images that look a little like photographs: smooth, with some texture."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from advdpnp.data.corruptions.draws import Array, Draws


def photos(n: int, channels: int = 3, side: int = 32) -> Tensor:
    """(n, channels, side, side) float32 in [0, 1], multiples of 1/255."""
    field = np.random.default_rng(side + channels).normal(size=(n, channels, side, side))
    smooth = gaussian_filter(field, (0, 0, side / 10, side / 10)) * side / 10 + 0.1 * field
    return torch.from_numpy(np.rint(255 * np.clip(0.45 + 0.5 * smooth, 0, 1)) / 255).float()


def draws(n: int, stream: str = "test", seed: int = 0) -> Draws:
    return Draws(seed, stream, torch.arange(n))


@pytest.fixture(scope="module")
def x() -> Array:
    return photos(6).numpy()
