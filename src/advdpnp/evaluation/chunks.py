"""Static chunks: every forward of an evaluation has one shape, so verdicts do not depend on how it was run."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from advdpnp.data import Images

# Rows of a forward where each attack goes over the images once.
CHUNK = 128
# Of a search: on a GPU what fills it; on a CPU 16 images of 3x32x32, smaller ones in proportion, within these bounds,
# since few rows leave few idle where few images are left. So many rows are in flight at most, if nothing else is said.
_SEARCH_GPU, _SEARCH_PIXELS, _SEARCH_CPU, _CHUNKS_IN_FLIGHT = 512, 16 * 3 * 32 * 32, (4, 64), 4


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


def chunks(images: Images, which: int | Tensor, size: int, first: int = 0) -> Iterator[Chunk]:
    """Some images in chunks of one size.

    Args:
        images: the test set.
        which: the first so many, or (n,) int64 positions.
        size: rows of a chunk.
        first: number of the first chunk.
    """
    device = images.labels.device
    places = torch.arange(which, device=device) if isinstance(which, int) else which
    n = len(places)
    for start in range(first * size, n, size):
        padded = torch.arange(start, start + size, device=device).clamp_max(n - 1)
        x, y = images.batch(places[padded])
        yield Chunk(x, y, places[padded], min(size, n - start))


def search_chunk(images: Images) -> int:
    """Rows of every forward of a search, for images of this size on this device."""
    if images.labels.device.type != "cpu":
        return _SEARCH_GPU
    fewest, most = _SEARCH_CPU
    fitting = _SEARCH_PIXELS // images.pixels[0].numel()
    return min(max(1 << max(fitting, 1).bit_length() - 1, fewest), most)


def chunks_in_flight(chunk: int, batch_size: int) -> int:
    """How many chunks of a search are in flight.

    Args:
        chunk: rows of a forward.
        batch_size: rows that somebody wants in flight; 0 for as many as make a small chunk worth the while, but no more
            than are lost where other attacks lose a chunk.
    """
    return max(1, batch_size // chunk if batch_size else min(_CHUNKS_IN_FLIGHT, CHUNK // chunk))
