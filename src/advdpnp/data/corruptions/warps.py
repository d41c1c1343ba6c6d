"""Elastic transformation."""

import numpy as np

from advdpnp.data.corruptions.blurs import smoothed
from advdpnp.data.corruptions.draws import Array, Draws


def elastic_transform(x: Array, draws: Draws, amplitude: float, smoothness: float, reach: float) -> Array:
    """An affine map that moves three points at random, then shifts that vary smoothly over the image.

    Args:
        x: (B, channels, H, W).
        draws: random numbers.
        amplitude: of the shifts, before they are smoothed.
        smoothness: sigma of the Gaussian that smooths them.
        reach: how far each point may move. All three are shares of the shorter side.
    """
    height, width = x.shape[2:]
    side = min(height, width)
    affine = np.stack(
        [affine_sources(moves, (height, width)) for moves in reach * side * draws.between("points", -1, 1, 3, 2)]
    )
    moved = _sampled(x, affine, mode="mirror")
    shifts = draws.between("shifts", -1, 1, 2, height, width)
    shifts = amplitude * side * smoothed(shifts, smoothness * side, mode="reflect", truncate=3.0)
    return _sampled(moved, np.indices((height, width)) + shifts, mode="reflect") if amplitude else moved


def affine_sources(moves: Array, shape: tuple[int, int]) -> Array:
    """Where each pixel comes from under the affine map that moves three points.

    The points are three corners of a square about the middle: lower right, upper right and upper left, a third of the
    shorter side away from it.

    Args:
        moves: (3, 2), of each point, to the right and down, in pixels.
        shape: (H, W).
    Returns:
        (2, H, W): row and column.
    """
    height, width = shape
    third, middle = min(shape) // 3 or min(shape) / 3, np.array([width // 2, height // 2], np.float64)
    points = middle + third * np.array([[1, 1], [1, -1], [-1, -1]])
    images = np.hstack([points + moves, np.ones((3, 1))])
    back = np.linalg.solve(images, points)
    rows, columns = np.indices(shape)
    right, down = (np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ back).transpose(2, 0, 1)
    return np.stack([down, right])


def _sampled(x: Array, places: Array, mode: str) -> Array:
    """Images (B, channels, H, W) at places (B, 2, H, W), interpolated linearly; `mode` is scipy's beyond the edges."""
    from scipy.ndimage import map_coordinates

    found = np.empty_like(x)
    for image, where, out in zip(x, places, found, strict=True):
        for channel, result in zip(image, out, strict=True):
            map_coordinates(channel, where, output=result, order=1, mode=mode)
    return found
