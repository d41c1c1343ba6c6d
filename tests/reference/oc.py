"""OC by loops over samples and coordinates, in float64; gradients worked out by hand (Xu et al. 2021)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rows(classes: int, width: int, scale: float) -> Array:
    """The first rows of the matrix that doubles as [[H, H], [-H, H]], entry by entry, at length `scale`.

    Entry (i, j) is a product over the binary digits of i and j: -1 where i's digit is 1 and j's is 0, else 1.
    """
    found = np.zeros((classes, width))
    for i in range(classes):
        for j in range(width):
            signs = [(-1 if (i >> bit) & 1 and not (j >> bit) & 1 else 1) for bit in range(width.bit_length() - 1)]
            found[i, j] = math.prod(signs) * scale / math.sqrt(width)
    return found


def squared_loss(embeddings: Array, y: Sequence[int], targets: Array, mean: bool = True) -> float:
    """Mean over the samples, and over the coordinates unless `mean` is False, of (f - w_y)^2."""
    samples, width = embeddings.shape
    total = sum((embeddings[i, j] - targets[label][j]) ** 2 for i, label in enumerate(y) for j in range(width))
    return float(total) / samples / (width if mean else 1)


def oc(clean: Array, adversarial: Array, y: Sequence[int], targets: Array, leverage: float) -> tuple[float, float]:
    """leverage S(x), (1 - leverage) S(x')."""
    return leverage * squared_loss(clean, y, targets), (1 - leverage) * squared_loss(adversarial, y, targets)


def oc_gradients(
    clean: Array, adversarial: Array, y: Sequence[int], targets: Array, leverage: float
) -> tuple[Array, Array]:
    """d oc / d embeddings of x and of x': 2 (f - w_y) / (samples width), times the share."""
    samples, width = clean.shape
    gradients = []
    for embeddings, share in ((clean, leverage), (adversarial, 1 - leverage)):
        pulls = [share * 2 * (embeddings[i] - targets[label]) / (samples * width) for i, label in enumerate(y)]
        gradients.append(np.array(pulls))
    return gradients[0], gradients[1]
