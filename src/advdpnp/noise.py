"""Counter-based random numbers: every draw is a pure function of (seed, stream, step, index).

No generator object holds state, so a draw does not depend on batch size, order, resume point or number of processes.
The mixing function is SplitMix64 (Steele, Lea and Flood, 2014), written in int64 tensor operations that wrap around.
"""

import functools
import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from advdpnp.ranges import Integer, check_fields

_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1
# Up to so many numbers a draw on a CPU costs what its calls cost; so many are drawn at once for steps to come.
_FEW, _AHEAD = 4096, 16384


def _signed(value: int) -> int:
    """The int64 with the same 64 bits as `value`."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def splitmix64(state: int) -> int:
    """Output of SplitMix64 for the 64-bit `state`, an integer in [0, 2**64)."""
    z = (state + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _MULTIPLIER_1) & _MASK
    z = ((z ^ (z >> 27)) * _MULTIPLIER_2) & _MASK
    return z ^ (z >> 31)


def _xor_shift_(z: Tensor, bits: int) -> Tensor:
    # int64 has only an arithmetic shift; the mask makes it a logical one.
    return z.bitwise_xor_((z >> bits).bitwise_and_((1 << (64 - bits)) - 1))


def _splitmix64_(state: Tensor) -> Tensor:
    """Elementwise `splitmix64`, in place, on int64 tensors read as unsigned."""
    z = state.add_(_signed(_GOLDEN))
    z = _xor_shift_(z, 30).mul_(_signed(_MULTIPLIER_1))
    z = _xor_shift_(z, 27).mul_(_signed(_MULTIPLIER_2))
    return _xor_shift_(z, 31)


def _few_bits(seed: int, stream: str, step: int | Tensor, index: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`bits` by NumPy, whose calls cost a third of torch's where there are few numbers in them."""
    steps = (
        step.reshape(-1).numpy().astype(np.uint64) if isinstance(step, Tensor) else np.array([step & _MASK], np.uint64)
    )
    keys = _mixed(steps ^ np.uint64(_stream_key(seed, stream)))
    rows = _mixed(index.numpy().astype(np.uint64) * np.uint64(_GOLDEN) + keys)
    counter = np.arange(math.prod(shape), dtype=np.uint64) * np.uint64(_GOLDEN)
    return torch.from_numpy(_mixed(rows[:, None] + counter).view(np.int64)).reshape(len(index), *shape)


def _mixed(state: "np.ndarray[Any, np.dtype[np.uint64]]") -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """Elementwise `splitmix64`, in place, of an array that is not 0-dim: those wrap around silently."""
    state += np.uint64(_GOLDEN)
    state ^= state >> np.uint64(30)
    state *= np.uint64(_MULTIPLIER_1)
    state ^= state >> np.uint64(27)
    state *= np.uint64(_MULTIPLIER_2)
    state ^= state >> np.uint64(31)
    return state


@functools.lru_cache(maxsize=1024)
def _stream_key(seed: int, stream: str) -> int:
    """64 bits for one (seed, stream)."""
    name = int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")
    return splitmix64(splitmix64(seed & _MASK) ^ name)


def _key(seed: int, stream: str, step: int | Tensor) -> int | Tensor:
    """64 bits for one (seed, stream, step): a signed integer, or a 0-dim tensor where `step` is one."""
    key = _stream_key(seed, stream)
    if isinstance(step, Tensor):
        return _splitmix64_(step ^ _signed(key))
    return _signed(splitmix64(key ^ (step & _MASK)))


def bits(seed: int, stream: str, step: int | Tensor, index: Tensor, shape: tuple[int, ...] = ()) -> Tensor:
    """Random 64-bit words, one block of `shape` for each entry of `index`.

    Args:
        seed: any integer.
        stream: name of the purpose; streams with different names are independent.
        step: any integer, such as the epoch; or an int64 tensor, which a captured CUDA graph reads at every replay:
            0-dim, or (B,) with a step for each entry of `index`.
        index: (B,) int64, for example image indices.
        shape: shape of one block.
    Returns:
        (B, *shape) int64, all 64 bits uniform.
    """
    if index.device.type == "cpu" and len(index) * math.prod(shape) <= _FEW and not torch.compiler.is_compiling():
        return _few_bits(seed, stream, step, index, shape)
    rows = _splitmix64_(index.to(torch.int64) * _signed(_GOLDEN) + _key(seed, stream, step))
    counter = torch.arange(math.prod(shape), device=index.device) * _signed(_GOLDEN)
    return _splitmix64_(rows[:, None] + counter).reshape(len(index), *shape)


def uniform(seed: int, stream: str, step: int | Tensor, index: Tensor, shape: tuple[int, ...] = ()) -> Tensor:
    """Uniforms in [0, 1) with 24 random bits: (B, *shape) float32. Arguments as in `bits`."""
    words = bits(seed, stream, step, index, shape)
    return ((words >> 40) & ((1 << 24) - 1)).to(torch.float32).mul_(2.0**-24)


def normal(seed: int, stream: str, step: int | Tensor, index: Tensor, shape: tuple[int, ...] = ()) -> Tensor:
    """Standard normals by Box and Muller: (B, *shape) float32. Arguments as in `bits`."""
    radius = uniform(seed, stream + "/radius", step, index, shape)
    angle = uniform(seed, stream + "/angle", step, index, shape)
    return torch.sqrt(-2.0 * torch.log1p(-radius)) * torch.cos(2.0 * math.pi * angle)


def permutation(seed: int, stream: str, step: int, n: int, device: torch.device | str = "cpu") -> Tensor:
    """A permutation of range(n): (n,) int64 on `device`, a function of (seed, stream, step, n)."""
    words = bits(seed, stream, step, torch.arange(n, device=device))
    return torch.argsort(words, stable=True)


class Noise(Protocol):
    """The random numbers of an attack: named streams, one row for each image of the batch."""

    def uniform(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32 in [0, 1)."""

    def normal(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, standard normal."""

    def rows(self, rows: Tensor) -> "Noise":
        """The noise of these rows of the batch: (k,) int64."""

    def at(self, step: Tensor) -> "Noise":
        """The noise of another step, of each row's own: (B,) int64."""


@dataclass(frozen=True)
class IndexNoise:
    """Noise keyed by image index: an image gets the same numbers in whatever batch it is.

    Args:
        seed: any integer.
        index: (B,) int64 image indices.
        step: any integer, such as the epoch; or int64, 0-dim or one for each image.
    """

    seed: Integer
    index: Tensor
    step: Integer | Tensor = 0

    def __post_init__(self) -> None:
        # Attacks make one in every iteration, so what is plainly right is not looked at again.
        if type(self.seed) is not int or not (type(self.step) is int or isinstance(self.step, Tensor)):
            check_fields(self)

    def uniform(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        return uniform(self.seed, stream, self.step, self.index, shape)

    def normal(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        return normal(self.seed, stream, self.step, self.index, shape)

    def rows(self, rows: Tensor) -> "IndexNoise":
        step = self.step[rows] if isinstance(self.step, Tensor) and self.step.dim() else self.step
        return IndexNoise(self.seed, self.index[rows], step)

    def at(self, step: Tensor) -> "IndexNoise":
        return IndexNoise(self.seed, self.index, step)


@dataclass(frozen=True)
class AheadNoise(IndexNoise):
    """The numbers of `IndexNoise`, several steps of them drawn at once: for searches that want a few in every step.

    Args:
        seed, index, step: as of `IndexNoise`; the index is on a CPU, where a draw of few numbers costs what its calls
            cost.
        held: by stream and shape, the steps (B,) that what has been drawn begins with, and the draws, (B, n, *shape).
    """

    held: dict[tuple[str, tuple[int, ...]], tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def at(self, step: Tensor) -> "AheadNoise":
        return AheadNoise(self.seed, self.index, step, self.held)

    def uniform(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        count = _AHEAD // (len(self.index) * math.prod(shape))
        if count < 2 or not isinstance(self.step, Tensor):
            return super().uniform(stream, shape)
        if (stream, shape) not in self.held or not self._holds(*self.held[stream, shape]):
            steps = (self.step[:, None] + torch.arange(count)).flatten()
            drawn = uniform(self.seed, stream, steps, self.index.repeat_interleave(count), shape)
            self.held[stream, shape] = self.step, drawn.view(-1, count, *shape)
        first, drawn = self.held[stream, shape]
        return drawn[torch.arange(len(drawn)), self.step - first]

    def _holds(self, first: Tensor, drawn: Tensor) -> bool:
        least, most = (self.step - first).aminmax()
        return bool(least >= 0) and bool(most < drawn.shape[1])
