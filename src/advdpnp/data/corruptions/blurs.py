"""Defocus, glass, motion, zoom and Gaussian blur."""

import math
from functools import lru_cache

import numpy as np

from advdpnp.data.corruptions.draws import Array, Draws


@lru_cache(maxsize=64)
def _smoother(n: int, sigma: float, mode: str, truncate: float) -> Array:
    """scipy's Gaussian filter of a line of n values as a matrix: (n, n) float32."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(np.eye(n), sigma, axis=0, mode=mode, truncate=truncate), np.float32)


def smoothed(x: Array, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> Array:
    """Images (..., H, W) under a Gaussian of this sigma, in pixels; `mode` is scipy's at the edges."""
    if sigma == 0:
        return x
    rows, columns = (_smoother(n, sigma, mode, truncate) for n in x.shape[-2:])
    return np.asarray(rows @ x @ columns.T)


def gaussian_blur(x: Array, draws: Draws, sigma: float) -> Array:
    """A Gaussian filter; edges are repeated."""
    return smoothed(x, sigma)


def disk(radius: float, rim: float) -> Array:
    """A disk of this radius whose rim is smoothed by a Gaussian of sigma `rim`: a square kernel that sums to 1."""
    from scipy.ndimage import gaussian_filter

    reach, taps = int(radius), 1 if radius <= 8 else 2
    offsets = np.arange(-reach - taps, reach + taps + 1)
    inside = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.float64)
    kernel = gaussian_filter(inside, rim, mode="constant", radius=taps)
    return np.asarray(kernel / kernel.sum())


def defocus_blur(x: Array, draws: Draws, radius: float, rim: float) -> Array:
    """Convolution with a disk; edges are mirrored."""
    kernel = disk(radius, rim)
    reach, (height, width) = len(kernel) // 2, x.shape[-2:]
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    found = np.zeros_like(x)
    for row, column in zip(*np.nonzero(kernel), strict=True):
        weight = np.float32(kernel[row, column])
        found += weight * padded[..., row : row + height, column : column + width]
    return found


def glass_blur(x: Array, draws: Draws, sigma: float, reach: float, rounds: float) -> Array:
    """Pixels taken from nearby places, between two Gaussian blurs.

    Each pixel in turn, from the last to the first, is replaced by one that is at most `reach` away, as it is by then.
    The authors' code means to swap the two, but what it does to RGB, and what the published arrays hold, is this.
    """
    reach, rounds, (height, width) = max(1, round(reach)), int(rounds), x.shape[-2:]
    shifts = np.floor(2 * reach * draws.uniform("shifts", rounds, height, width, 2)).astype(np.int64) - reach
    images, source = np.arange(len(x)), np.tile(np.arange(height * width), (len(x), 1))
    for turn in range(rounds):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                from_row = row + shifts[:, turn, row, column, 0]
                from_column = column + shifts[:, turn, row, column, 1]
                source[:, row * width + column] = source[images, from_row * width + from_column]
    flat = smoothed(x, sigma).reshape(*x.shape[:2], -1)
    moved = np.take_along_axis(flat, source[:, None], axis=2).reshape(x.shape)
    return smoothed(moved, sigma)


def trail(x: Array, length: float, sigma: float, angle: Array) -> Array:
    """Each image moved along a line: a mean of shifted copies, with the weights of one half of a Gaussian.

    Args:
        x: (B, channels, H, W).
        length: of the trail, in pixels; it has 2 length + 1 copies.
        sigma: of the weights, in pixels.
        angle: (B,) of each image's line, in degrees.
    """
    steps = np.arange(2 * max(1, round(length)) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    radians, (height, width) = np.deg2rad(angle)[:, None], x.shape[-2:]
    down, right = (np.ceil(steps * along - 0.5).astype(int) for along in (np.sin(radians), np.cos(radians)))
    reach, found = len(steps), np.zeros_like(x)
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    for image in range(len(x)):
        for weight, row, column in zip(weights, reach + down[image], reach + right[image], strict=True):
            found[image] += weight * padded[image, :, row : row + height, column : column + width]
    return found


def motion_blur(x: Array, draws: Draws, length: float, sigma: float) -> Array:
    """A trail at a random angle of up to 45 degrees from the horizontal; edges are repeated."""
    return trail(x, length, sigma, draws.between("angle", -45, 45))


@lru_cache(maxsize=256)
def _magnifier(n: int, factor: float) -> Array:
    """Magnification of a line of n values about its middle, by linear interpolation, as a matrix: (n, n) float32."""
    kept = math.ceil(n / factor)
    size = max(n, round(kept * factor))
    first, start = (n - kept) // 2, (size - n) // 2
    places = first + (start + np.arange(n)) * ((kept - 1) / max(1, size - 1))
    below = np.minimum(places.astype(int), n - 1)
    share = places - below
    matrix = np.zeros((n, n))
    matrix[np.arange(n), below] += 1 - share
    matrix[np.arange(n), np.minimum(below + 1, n - 1)] += share
    return matrix.astype(np.float32)


def magnified(x: Array, factor: float) -> Array:
    """The middle of images (..., H, W), as large as the whole."""
    if factor == 1:
        return x
    return np.asarray(_magnifier(x.shape[-2], factor) @ x @ _magnifier(x.shape[-1], factor).T)


def zoom_blur(x: Array, draws: Draws, count: float, step: float) -> Array:
    """The mean of the image and of `count` magnifications of it, from 1 on."""
    total = x.copy()
    for number in range(int(count)):
        total += magnified(x, round(1 + step * number, 4))
    return total / np.float32(count + 1)
