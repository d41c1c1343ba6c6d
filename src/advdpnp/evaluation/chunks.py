"""Static chunks: every forward of an evaluation has one shape, so verdicts do not depend on how it was run."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advdpnp.data import Images


@dataclass(frozen=True)
class Chunk:
    """Images that go through the network together.

    Args:
        x: (chunk, channels, H, W) in [0, 1]; the last chunk is padded by repeating its last image.
        y: (chunk,) int64.
        index: (chunk,) int64 positions in the test set.
        valid: how many rows count.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    valid: int


def chunks(images: Images, n: int, size: int, first: int = 0) -> Iterator[Chunk]:
    """The first n images in chunks of `size`, beginning with chunk number `first`."""
    for start in range(first * size, n, size):
        valid = min(size, n - start)
        index = torch.arange(start, start + size, device=images.labels.device).clamp_max(n - 1)
        x, y = images.batch(index)
        yield Chunk(x, y, index, valid)
