"""What storing a small or a compressed file does: pixelation and JPEG."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from advdpnp.data.corruptions.colors import is_rgb
from advdpnp.data.corruptions.draws import Array, Draws

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def _each(x: Array, change: "Callable[[Picture], Picture]") -> Array:
    """Every image through Pillow, in 8 bits: RGB at once, others channel by channel."""
    from PIL import Image

    stored = np.rint(255 * x).astype(np.uint8)
    pictures = stored.transpose(0, 2, 3, 1) if is_rgb(x) else stored.reshape(-1, *x.shape[2:])
    changed = np.stack([np.asarray(change(Image.fromarray(picture))) for picture in pictures]).astype(np.float32) / 255
    return changed.transpose(0, 3, 1, 2) if is_rgb(x) else changed.reshape(x.shape)


def pixelate(x: Array, draws: Draws, share: float) -> Array:
    """Shrunk to this share of the side with a box filter, and back."""
    from PIL.Image import Resampling

    height, width = x.shape[2:]
    small = max(1, int(width * share)), max(1, int(height * share))

    def change(picture: "Picture") -> "Picture":
        return picture.resize(small, Resampling.BOX).resize((width, height), Resampling.BOX)

    return _each(x, change)


def jpeg_compression(x: Array, draws: Draws, quality: float) -> Array:
    """Stored as JPEG of this quality, in [1, 95], and read again."""
    from PIL import Image

    def change(picture: "Picture") -> "Picture":
        stored = io.BytesIO()
        picture.save(stored, "JPEG", quality=int(quality))
        return Image.open(stored)

    return _each(x, change)
