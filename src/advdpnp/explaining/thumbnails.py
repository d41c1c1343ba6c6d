"""Small pictures: images, and differences between two, as PNG."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advdpnp.predicting.predictions import Pixels

# (H, W) or (H, W, 3).
Shades = NDArray[np.uint8]


def shades(pixels: Pixels, levels: int) -> Shades:
    """Pixels (channels, H, W) in [0, levels] as bytes for a picture; of other than 1 or 3 channels, their mean."""
    values = pixels.astype(np.float64) / levels
    if values.shape[0] not in (1, 3):
        values = values.mean(axis=0, keepdims=True)
    bytes_ = (255 * values.clip(0, 1)).round().astype(np.uint8).transpose(1, 2, 0)
    return bytes_[:, :, 0] if bytes_.shape[2] == 1 else bytes_


def difference(change: NDArray[np.float32]) -> tuple[Shades, float]:
    """How an adversarial image differs from the image, grey where it does not.

    Args:
        change: (channels, H, W), the one less the other.
    Returns:
        The picture; and by how much the difference is amplified, so that the largest one is black or white.
    """
    wide = change.astype(np.float64)
    if wide.shape[0] not in (1, 3):
        wide = wide.mean(axis=0, keepdims=True)
    largest = float(np.abs(wide).max())
    amplified = 0.5 / largest if largest else 1.0
    return shades((127.5 + 255 * amplified * wide).clip(0, 255).round().astype(np.uint8), 255), amplified


def png(picture: Shades) -> bytes:
    """A PNG file."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="png", optimize=True)
    return content.getvalue()


def data_uri(picture: Shades, side: int) -> str:
    """The picture inside a page, made smaller where its longer side has more than so many pixels."""
    longest = max(picture.shape[:2])
    if longest > side:
        height, width = (max(round(size * side / longest), 1) for size in picture.shape[:2])
        picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode("ascii")
