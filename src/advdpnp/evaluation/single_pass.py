"""Attacks that go over the images once: chunks of one shape, what they search on, one verdict per image."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.data import Images
from advdpnp.evaluation.state import PassProgress
from advdpnp.losses import cross_entropy, is_right
from advdpnp.models.classifier import Classifier
from advdpnp.models.folding import fold_batchnorm
from advdpnp.noise import IndexNoise

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


SearchPrecision = Literal["fp32", "tf32", "bf16"]


def check_precision(precision: str) -> None:
    """Raise ValueError unless attacks can search in it."""
    if precision not in get_args(SearchPrecision):
        known = ", ".join(get_args(SearchPrecision))
        raise ValueError(f"attacks can search in {known}; got {precision!r}")


def model_to_attack(model: nn.Module, precision: SearchPrecision = "fp32") -> nn.Module:
    """What attacks search on: a folded copy of our own classifiers, which is faster; other networks themselves."""
    check_precision(precision)
    if isinstance(model, Classifier):
        return fold_batchnorm(model, torch.bfloat16 if precision == "bf16" else torch.float32)
    if precision == "bf16":
        raise ValueError("only networks that advdpnp has built are searched in bf16: leave it fp32, or tf32 on a GPU")
    return model


@contextlib.contextmanager
def as_stated() -> Iterator[None]:
    """Numbers as results state them, whatever the caller has switched on; outside, all switches are as they were.

    Inside: fp32 and nothing coarser (no autocast, no TF32, float32 by default), and gradients where they are asked for.
    """
    default = torch.get_default_dtype()
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        _ieee_products(),
    ):
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_default_dtype(default)


@contextlib.contextmanager
def _ieee_products() -> Iterator[None]:
    """Products of fp32 numbers that are rounded to fp32 alone, on the CPU too."""
    backends: Any = torch.backends
    kinds = (
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
        backends.mkldnn.rnn,
    )
    # torch has two interfaces for this and refuses to read the older one where the newer has been used. Both are set,
    # since both are read, by its compiler among others.
    before = [kind.fp32_precision for kind in kinds]
    products, convolutions = _readable(torch.get_float32_matmul_precision), _readable(lambda: backends.cudnn.allow_tf32)
    try:
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = False
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


def _readable(setting: Callable[[], Any]) -> Any:
    """A setting of torch's older interface, or None where it cannot be told."""
    try:
        return setting()
    except RuntimeError:
        return None


@contextlib.contextmanager
def searching(precision: SearchPrecision) -> Iterator[None]:
    """GPU products in TF32 inside, if that is the precision, and as they were outside."""
    settings: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [setting.allow_tf32 for setting in settings]
    try:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed or precision == "tf32"
        yield
    finally:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed


Tell = Callable[[int], None]


def attacked(attacked_model: nn.Module, attack: Attack | None, chunk: Chunk, seed: int) -> tuple[Tensor, Tensor]:
    """The chunk's images after the attack (None: clean); the noise is keyed by image index.

    Returns:
        (chunk, channels, H, W); and (chunk,) bool, the images about which an answer to the attack was not finite.
    """
    watched = MonitoredModel(attacked_model, len(chunk.x), chunk.x.device)
    if attack is None:
        return chunk.x, watched.nonfinite
    return attack(watched, chunk.x, chunk.y, noise=IndexNoise(seed, chunk.index)), watched.nonfinite


def judge(
    model: nn.Module,
    attacked_model: nn.Module,
    attack: Attack | None,
    images: Images,
    places: Tensor,
    chunk_size: int,
    seed: int,
    entry: PassProgress,
    tell: Tell,
    see: Callable[[Tensor, Chunk], None] | None = None,
) -> None:
    """Attack the images at `places` and store a verdict for each.

    Args:
        model: classifier in eval mode, which gives the verdicts.
        surface: what the attack searches on, see `advdpnp.evaluation.single_pass`.
        attack: None for clean images.
        images: the test set, on the model's device.
        places: (n,) int64, positions in the test set.
        chunk_size: rows of each forward.
        seed: of the attack's noise.
        entry: where verdicts go; chunks that it already has are skipped.
        tell: called with the number of images after each chunk.
        see: called with the attacked images of each chunk, for what else is measured on them.
    """
    for chunk in chunks(images, places, chunk_size, first=math.ceil(entry.n / chunk_size)):
        began = time.perf_counter()
        x, nonfinite = attacked(attacked_model, attack, chunk, seed)
        with torch.no_grad():
            # A copy: the images are looked at again below.
            logits = model(x.clone())[: chunk.valid]
        y = chunk.y[: chunk.valid]
        right, loss = is_right(logits, y), cross_entropy(logits, y)
        if see is not None:
            see(x, chunk)
        # Waits for the device, whose work is part of the time.
        right, loss = right.cpu(), loss.cpu()
        entry.add(right, nonfinite[: chunk.valid], loss, time.perf_counter() - began)
        tell(chunk.valid)
