"""One picture of held-out images: clean, adversarial, and what the attack has changed."""

import numpy as np
from numpy.typing import NDArray

# Small images are enlarged to at least so many pixels, by whole factors.
SIDE = 64
GAP = 2


def attack_picture(clean: NDArray[np.float32], adversarial: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Three rows, an image in each column: clean, adversarial, and their difference.

    Args:
        clean, adversarial: (S, channels, H, W) in [0, 1]; unless they have three channels, their mean is shown.
    Returns:
        (height, width, 3) bytes. A difference of 0 is middle gray, the largest one of all black or white.
    """
    change = adversarial - clean
    largest = max(float(np.abs(change).max()), 1e-12)
    rows = np.stack([clean, adversarial, 0.5 + change / (2 * largest)])
    factor = -(-SIDE // rows.shape[-1])
    large = rows.repeat(factor, axis=3).repeat(factor, axis=4)
    framed = np.pad(large, [(0, 0), (0, 0), (0, 0), (GAP, GAP), (GAP, GAP)], constant_values=1)
    n_rows, n_images, channels, height, width = framed.shape
    # (rows, images, channels, H, W) to (rows x H, images x W, channels).
    whole = framed.transpose(0, 3, 1, 4, 2).reshape(n_rows * height, n_images * width, channels)
    colors = whole if channels == 3 else whole.mean(axis=2, keepdims=True).repeat(3, axis=2)
    return np.asarray(np.rint(colors.clip(0, 1) * 255), dtype=np.uint8)
