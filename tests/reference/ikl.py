"""IKL by loops over samples and pairs of classes, in float64; gradients on the logits worked out by hand."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(z: Array) -> Array:
    powers = [math.exp(value - max(z)) for value in z]
    return np.array([value / sum(powers) for value in powers])


def wmse(clean: Array, adversarial: Array, weights: Array) -> float:
    """1/4 sum_jk w_j w_k ((z_j - z_k) - (z'_j - z'_k))^2 of one sample, over all pairs."""
    classes = range(len(clean))
    return sum(
        weights[j] * weights[k] * ((clean[j] - clean[k]) - (adversarial[j] - adversarial[k])) ** 2 / 4
        for j in classes
        for k in classes
    )


def wmse_gradient(clean: Array, adversarial: Array, weights: Array) -> Array:
    """d wmse / d clean; on the adversarial logits it is the same with the other sign. Each pair appears twice."""
    classes = range(len(clean))
    return np.array(
        [
            sum(weights[j] * weights[k] * ((clean[j] - clean[k]) - (adversarial[j] - adversarial[k])) for k in classes)
            for j in classes
        ]
    )


def sce(clean: Array, adversarial: Array) -> float:
    """-sum_k p_k(x) log p_k(x') of one sample."""
    p, q = softmax(clean), softmax(adversarial)
    return -sum(p[k] * math.log(q[k]) for k in range(len(p)))


def ikl(
    clean: Array, adversarial: Array, y: Sequence[int], table: Array, alpha: float, beta: float
) -> tuple[float, float, float]:
    """Clean cross-entropy, beta WMSE with the row of the table of each label, alpha SCE; means."""
    n = len(y)
    ce = sum(-math.log(softmax(clean[i])[label]) for i, label in enumerate(y))
    pull = sum(wmse(clean[i], adversarial[i], table[label]) for i, label in enumerate(y))
    soft = sum(sce(clean[i], adversarial[i]) for i in range(n))
    return ce / n, beta * pull / n, alpha * soft / n


def ikl_gradients(
    clean: Array, adversarial: Array, y: Sequence[int], table: Array, alpha: float, beta: float
) -> tuple[Array, Array]:
    """d ikl / d clean and / d adversarial logits: WMSE moves both, SCE the adversarial ones alone."""
    n = len(y)
    on_clean, on_adversarial = np.zeros_like(clean), np.zeros_like(adversarial)
    for i, label in enumerate(y):
        p, q = softmax(clean[i]), softmax(adversarial[i])
        pull = beta * wmse_gradient(clean[i], adversarial[i], table[label])
        own = np.array([k == label for k in range(len(p))], dtype=float)
        on_clean[i] = (p - own + pull) / n
        on_adversarial[i] = (alpha * (q - p) - pull) / n
    return on_clean, on_adversarial


def class_table(logits: Array, y: Sequence[int], before: Array, temperature: float) -> Array:
    """Row c: the mean of softmax(z / T) over the samples of class c; the row before where there are none."""
    table = before.copy()
    for label in range(len(before)):
        shares = [softmax(z / temperature) for z, own in zip(logits, y, strict=True) if own == label]
        if shares:
            table[label] = sum(shares) / len(shares)
    return table
