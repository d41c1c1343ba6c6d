"""DIO by loops over heads, images and classes, in float64; gradients worked out by hand."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(z: Array) -> Array:
    powers = [math.exp(value - max(z)) for value in z]
    return np.array([value / sum(powers) for value in powers])


def all_logits(features: Array, heads: Array) -> list[Array]:
    """One (B, C) for each head W (C, D): z_k = w_k . f, without bias."""
    return [np.array([[sum(w * f) for w in head] for f in features]) for head in heads]


def orthogonality(heads: Array) -> float:
    """Every pair of heads once: the squared inner product of all their entries."""
    total = 0.0
    for i in range(len(heads)):
        for j in range(i + 1, len(heads)):
            total += sum(a * b for a, b in zip(heads[i].ravel(), heads[j].ravel(), strict=True)) ** 2
    return total


def nearest(z: Array, head: Array, label: int) -> tuple[float, int]:
    """The smallest |z_y - z_k| / ||w_k|| over the other classes, and its class."""
    distances = {k: abs(z[label] - z[k]) / math.sqrt(sum(w * w for w in head[k])) for k in range(len(z)) if k != label}
    rival = min(distances, key=lambda k: distances[k])
    return distances[rival], rival


def margin(features: Array, heads: Array, y: Sequence[int], tau: float) -> float:
    """Sum over heads of the mean over the images that the head has right; a head without one adds nothing."""
    total = 0.0
    for head, z in zip(heads, all_logits(features, heads), strict=True):
        right = [i for i, label in enumerate(y) if max(range(len(head)), key=lambda k, i=i: z[i, k]) == label]
        if right:
            total += sum(max(0.0, tau - nearest(z[i], head, y[i])[0]) for i in right) / len(right)
    return total


def dio(
    features: Array, heads: Array, y: Sequence[int], alpha: float, beta: float, tau: float
) -> tuple[float, float, float]:
    """Cross-entropy, mean over heads and images; alpha orthogonality; beta margin."""
    ce = 0.0
    for z in all_logits(features, heads):
        ce += sum(-math.log(softmax(row)[label]) for row, label in zip(z, y, strict=True)) / len(y)
    return ce / len(heads), alpha * orthogonality(heads), beta * margin(features, heads, y, tau)


def dio_gradients(
    features: Array, heads: Array, y: Sequence[int], alpha: float, beta: float, tau: float
) -> tuple[Array, Array]:
    """d dio / d features (B, D) and / d heads (L, C, D).

    CE: (p_k - [k = y]) f / (B L) on w_k. Orthogonality: 2 alpha sum_{j != i} <W_i, W_j> W_j on W_i. Margin, where it
    is short of tau, d = z_y - z_k > 0, n images right: -f / (n ||w_k||) on w_y, and f / (n ||w_k||) +
    d w_k / (n ||w_k||^3) on w_k, since a longer row makes the distance smaller.
    """
    on_features, on_heads = np.zeros_like(features), np.zeros_like(heads)
    count, images = len(heads), len(y)
    for h, (head, z) in enumerate(zip(heads, all_logits(features, heads), strict=True)):
        for i, label in enumerate(y):
            p = softmax(z[i])
            for k in range(len(head)):
                pull = (p[k] - (k == label)) / (images * count)
                on_heads[h, k] += pull * features[i]
                on_features[i] += pull * head[k]
        for other in range(count):
            if other != h:
                on_heads[h] += 2 * alpha * float((head * heads[other]).sum()) * heads[other]
        right = [i for i, label in enumerate(y) if max(range(len(head)), key=lambda k, i=i: z[i, k]) == label]
        for i in right:
            distance, k = nearest(z[i], head, y[i])
            if distance < tau:
                length, share = math.sqrt(float((head[k] ** 2).sum())), beta / len(right)
                gap = z[i, y[i]] - z[i, k]
                on_heads[h, y[i]] -= share * features[i] / length
                on_heads[h, k] += share * (features[i] / length + gap * head[k] / length**3)
                on_features[i] += share * (head[k] - head[y[i]]) / length
    return on_features, on_heads
