"""Brightness, contrast and saturation, and what other corruptions need to know of colors.

An image of three channels is taken as RGB; any other as gray, channel by channel. With S and V of HSV, a channel is
V (1 - S t) with a t that depends on the hue alone, so value and saturation are changed without going to HSV and back.
"""

import numpy as np

from advdpnp.data.corruptions.draws import Array, Draws

# Of ITU-R BT.601: how bright red, green and blue are.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def is_rgb(x: Array) -> bool:
    """Whether (B, channels, H, W) has three channels."""
    return bool(x.shape[1] == 3)


def luma(x: Array) -> Array:
    """Brightness of RGB, (B, 1, H, W); other images as they are."""
    return np.asarray(np.einsum("bchw,c->bhw", x, _LUMA)[:, None]) if is_rgb(x) else x


def paint(x: Array, red: float, green: float, blue: float) -> Array:
    """A color for images like x: (3, 1, 1), or its brightness, (1, 1, 1)."""
    color = np.array([red, green, blue], np.float32)
    return np.asarray(color if is_rgb(x) else (color @ _LUMA)[None])[:, None, None]


def brightness(x: Array, draws: Draws, added: float) -> Array:
    """HSV's value plus a constant; of gray images, the pixels."""
    if not is_rgb(x):
        return np.asarray(x + np.float32(added))
    value = x.max(axis=1, keepdims=True)
    raised = np.minimum(value + np.float32(added), 1)
    return np.asarray(np.where(value > 0, x * (raised / np.where(value > 0, value, 1)), raised))


def contrast(x: Array, draws: Draws, share: float) -> Array:
    """Each channel's distance from its mean, shrunk."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    return np.asarray(mean + np.float32(share) * (x - mean))


def saturate(x: Array, draws: Draws, factor: float, added: float) -> Array:
    """HSV's saturation times a factor, plus a constant.

    A gray pixel has the hue of red, as in HSV; of gray images the result is the brightness of that color.
    """
    if not is_rgb(x):
        return np.asarray(x * np.float32(1 - (1 - _LUMA[0]) * min(added, 1)))
    value, low = x.max(axis=1, keepdims=True), x.min(axis=1, keepdims=True)
    spread = value - low
    saturation = np.divide(spread, value, out=np.zeros_like(value), where=value > 0)
    wanted = np.clip(saturation * np.float32(factor) + np.float32(added), 0, 1)
    colored = value - (value - x) * np.divide(wanted, saturation, out=np.ones_like(value), where=spread > 0)
    reddish = value * (1 - wanted * np.array([0, 1, 1], np.float32)[:, None, None])
    return np.asarray(np.where(spread > 0, colored, reddish))
