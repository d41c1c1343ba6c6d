"""Gaussian, shot, impulse and speckle noise."""

from functools import cache

import numpy as np

from advdpnp.data.corruptions.draws import Array, Draws


def gaussian_noise(x: Array, draws: Draws, deviation: float) -> Array:
    """Each value plus a normal number."""
    return x + deviation * draws.normal("values", *x.shape[1:])


def speckle_noise(x: Array, draws: Draws, deviation: float) -> Array:
    """Each value plus a normal number in proportion to it."""
    return x + deviation * x * draws.normal("values", *x.shape[1:])


def impulse_noise(x: Array, draws: Draws, share: float) -> Array:
    """Salt and pepper: this share of the values, of each channel by itself, is 0 or 1, half of them each."""
    u = draws.uniform("values", *x.shape[1:])
    return np.where(u < share / 2, np.float32(0), np.where(u >= 1 - share / 2, np.float32(1), x))


def shot_noise(x: Array, draws: Draws, photons: float) -> Array:
    """Counts of photons, Poisson with mean `photons` x each value, over `photons`."""
    levels, u = np.rint(255 * x).astype(np.uint8).ravel(), draws.uniform("values", *x.shape[1:]).ravel()
    order = np.argsort(levels, kind="stable")
    bounds = np.searchsorted(levels[order], np.arange(257))
    counts = np.empty_like(u)
    # Level by level: a search in one small table is fast, and a pixel of 8 bits has one of 256 distributions.
    for level, distribution in enumerate(_poisson(photons)):
        pixels = order[bounds[level] : bounds[level + 1]]
        counts[pixels] = np.searchsorted(distribution, u[pixels], side="right")
    return (counts / np.float32(photons)).reshape(x.shape)


@cache
def _poisson(photons: float) -> Array:
    """P(count <= k) for each of the 256 levels of a pixel and each count k, (256, counts) float32; the last is 1."""
    from scipy.special import pdtr

    counts = np.arange(int(photons + 10 * np.sqrt(photons) + 20))
    below = pdtr(counts, photons * np.arange(256)[:, None] / 255)
    below[:, -1] = 1
    return np.asarray(below, np.float32)
