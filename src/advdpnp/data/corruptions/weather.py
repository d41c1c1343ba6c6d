"""Fog, frost, snow and spatter. All are procedural: no photographs are used."""

import numpy as np

from advdpnp.data.corruptions.blurs import magnified, smoothed, trail
from advdpnp.data.corruptions.colors import luma, paint
from advdpnp.data.corruptions.draws import Array, Draws


def plasma(draws: Draws, shape: tuple[int, int], decay: float) -> Array:
    """Height maps by the diamond-square algorithm on a torus (Fournier, Fussell and Carpenter 1982).

    Args:
        draws: random numbers.
        shape: (H, W).
        decay: from one scale to the next, deviations from the mean of the neighbors shrink by its square.
    Returns:
        (B, H, W) float32; of the whole map, whose side is the next power of two, the least is 0 and the largest 1.
    """
    side = 1 << (max(shape) - 1).bit_length()
    wobble = draws.between("plasma", -1, 1, side, side)
    heights, step, size = np.zeros_like(wobble), side, 1.0
    while step >= 2:
        half = step // 2
        corners, centers = heights[:, ::step, ::step], (slice(None), slice(half, None, step), slice(half, None, step))
        rows = corners + np.roll(corners, -1, axis=1)
        heights[centers] = (rows + np.roll(rows, -1, axis=2)) / 4 + size * wobble[centers]
        middles, beside = heights[centers], (slice(None), slice(0, None, step), slice(half, None, step))
        around = corners + np.roll(corners, -1, axis=2) + middles + np.roll(middles, 1, axis=1)
        heights[beside] = around / 4 + size * wobble[beside]
        below = (slice(None), slice(half, None, step), slice(0, None, step))
        around = corners + np.roll(corners, -1, axis=1) + middles + np.roll(middles, 1, axis=2)
        heights[below] = around / 4 + size * wobble[below]
        step, size = half, size / decay**2
    heights -= heights.min(axis=(1, 2), keepdims=True)
    heights /= np.maximum(heights.max(axis=(1, 2), keepdims=True), np.float32(1e-12))
    return heights[:, : shape[0], : shape[1]]


def fog(x: Array, draws: Draws, weight: float, decay: float) -> Array:
    """A plasma on top of the image; the brightest pixel stays as bright as it is, if it is in the thickest fog."""
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    thick = np.float32(weight) * plasma(draws, x.shape[2:], decay)[:, None]
    return np.asarray((x + thick) * brightest / (brightest + np.float32(weight)))


# Of the frost: by how much one image's is brighter than another's, and the share of a plasma in it.
_LEAST, _MOST, _UNEVEN = 0.30, 0.80, 0.35
_NEEDLES = 0.012


def frost_layer(x: Array, draws: Draws) -> Array:
    """Frost for images like x: bluish white, uneven, with needles at 60 degrees to each other.

    The authors lay parts of photographs of frost over the images, which are not used here. In brightness, unevenness
    and color this is like these photographs on average.
    """
    height, width = x.shape[2:]
    side = min(height, width)
    base = draws.between("brightness", _LEAST, _MOST)[:, None, None] + _UNEVEN * (
        plasma(draws, (height, width), 1.4) - 0.5
    )
    seeds = (draws.uniform("seeds", 1, height, width) < _NEEDLES * 32 / side) * draws.between(
        "light", 2, 5, 1, height, width
    )
    angle, length = draws.between("angle", 0, 60), max(2.0, side / 10)
    needles = [trail(seeds, length, length / 2, angle + 60 * turn)[:, 0] for turn in range(6)]
    layer = np.clip(base + np.maximum.reduce(needles) * np.float32(side / 32), 0, 1)
    return np.asarray(layer[:, None] * paint(x, 0.84, 1.0, 1.1))


def frost(x: Array, draws: Draws, weight: float, frosty: float) -> Array:
    """A weighted sum of the image and a layer of frost (`frost_layer`)."""
    return np.float32(weight) * x + np.float32(frosty) * frost_layer(x, draws)


def snow(
    x: Array,
    draws: Draws,
    mean: float,
    deviation: float,
    zoom: float,
    least: float,
    length: float,
    sigma: float,
    kept: float,
) -> Array:
    """A whitened image under two layers of flakes, of which one is the other turned by 180 degrees.

    The flakes are normal noise, magnified, of which what is below `least` is cut off, with a trail at a random angle of
    up to 45 degrees from the vertical.
    """
    flakes = magnified(np.float32(mean) + np.float32(deviation) * draws.normal("flakes", 1, *x.shape[2:]), zoom)
    flakes = np.clip(np.where(flakes < least, np.float32(0), flakes), 0, 1)
    flakes = trail(flakes, length, sigma, draws.between("angle", -135, -45))
    white = np.maximum(x, 1.5 * luma(x) + np.float32(0.5))
    return np.float32(kept) * x + np.float32(1 - kept) * white + flakes + flakes[..., ::-1, ::-1]


_MOSTLY = 0.8


def spatter(
    x: Array, draws: Draws, mean: float, deviation: float, blur: float, least: float, strength: float, mud: float
) -> Array:
    """Drops of water, which are added to the image, or of mud, which hides it.

    Drops are where smoothed normal noise is at least `least`. Water is lit from one side: its brightness follows the
    distance from the rim of its drop.
    """
    field = smoothed(np.float32(mean) + np.float32(deviation) * draws.normal("drops", *x.shape[2:]), blur)
    drops = np.where(field < least, np.float32(0), field)
    if mud:
        cover = smoothed((drops > least).astype(np.float32), strength)
        cover = np.where(cover < _MOSTLY, np.float32(0), cover)[:, None]
        return np.asarray(x * (1 - cover) + cover * paint(x, 63 / 255, 42 / 255, 20 / 255))
    water = drops * _relief(drops > 0)
    water /= np.maximum(water.max(axis=(1, 2), keepdims=True), np.float32(1e-12))
    return x + np.float32(strength) * water[:, None] * paint(x, 175 / 255, 238 / 255, 238 / 255)


# In pixels; of a drop only the rim is curved.
_RIM = 20
_LIT = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)


def _relief(inside: Array) -> Array:
    """Brightness of drops, (B, H, W) bool -> float32 in [0, 1], as light from the lower right shows their surface."""
    from scipy.ndimage import binary_erosion, correlate, distance_transform_edt, uniform_filter

    cross = np.zeros((3, 3, 3), bool)
    cross[1, 1], cross[1, :, 1] = True, True
    edge = inside & ~binary_erosion(inside, cross, border_value=1)
    # One image is far from the next, so that all are measured at once.
    distance = distance_transform_edt(~edge, sampling=(1e6, 1, 1))
    distance = np.floor(uniform_filter(np.minimum(distance, _RIM), (1, 3, 3), mode="mirror"))
    shown = np.stack([_equalized(image) for image in distance.astype(int)])
    lit = np.clip(correlate(shown, _LIT[None], mode="mirror"), 0, 1)
    return np.asarray(uniform_filter(lit, (1, 3, 3), mode="mirror"), np.float32)


def _equalized(levels: Array) -> Array:
    """Levels (H, W), integers, spread evenly over [0, 1] by how many pixels have at most each of them."""
    upto = np.cumsum(np.bincount(levels.ravel(), minlength=_RIM + 1)).astype(np.float32)
    first = upto[levels.min()]
    shown = np.zeros_like(upto) if first == upto[-1] else np.clip((upto - first) / (upto[-1] - first), 0, 1)
    return np.asarray(shown[levels])
