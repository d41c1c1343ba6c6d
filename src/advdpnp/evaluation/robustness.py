"""Accuracy on clean images and under attack, one verdict per image."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack
from advdpnp.attacks.watched import Watched
from advdpnp.data import Images
from advdpnp.evaluation.chunks import Chunk, chunks
from advdpnp.evaluation.ledger import Entry
from advdpnp.losses import cross_entropy, is_right
from advdpnp.noise import IndexNoise

Tell = Callable[[int], None]


def attacked(surface: nn.Module, attack: Attack | None, chunk: Chunk, seed: int) -> tuple[Tensor, Tensor]:
    """The chunk's images after the attack (None: clean); the noise is keyed by image index.

    Returns:
        (chunk, channels, H, W); and (chunk,) bool, the images about which an answer to the attack was not finite.
    """
    watched = Watched(surface, len(chunk.x), chunk.x.device)
    if attack is None:
        return chunk.x, watched.hindered
    return attack(watched, chunk.x, chunk.y, noise=IndexNoise(seed, chunk.index)), watched.hindered


def judge(
    model: nn.Module,
    surface: nn.Module,
    attack: Attack | None,
    images: Images,
    places: Tensor,
    chunk_size: int,
    seed: int,
    entry: Entry,
    tell: Tell,
    see: Callable[[Tensor, Chunk], None] | None = None,
) -> None:
    """Attack the images at `places` and store a verdict for each.

    Args:
        model: classifier in eval mode, which gives the verdicts.
        surface: what the attack searches on, see `advdpnp.evaluation.precision`.
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
        x, hindered = attacked(surface, attack, chunk, seed)
        with torch.no_grad():
            # A copy: the images are looked at again below.
            logits = model(x.clone())[: chunk.valid]
        y = chunk.y[: chunk.valid]
        right, loss = is_right(logits, y), cross_entropy(logits, y)
        if see is not None:
            see(x, chunk)
        # Waits for the device, whose work is part of the time.
        right, loss = right.cpu(), loss.cpu()
        entry.add(right, hindered[: chunk.valid], loss, time.perf_counter() - began)
        tell(chunk.valid)
