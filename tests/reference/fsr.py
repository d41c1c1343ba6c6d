"""FSR by loops over images and places, in float64; gradients by central differences of the same loops."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, Array]


def convolved(x: Array, kernel: Array) -> Array:
    """3x3 convolution of (B, K, H, W) with zeros around it, stride 1: kernel (N, K, 3, 3)."""
    images, _, height, width = x.shape
    result = np.zeros((images, len(kernel), height, width))
    for b in range(images):
        for i in range(height):
            for j in range(width):
                for di in (-1, 0, 1):
                    for dj in (-1, 0, 1):
                        if 0 <= i + di < height and 0 <= j + dj < width:
                            result[b, :, i, j] += kernel[:, :, di + 1, dj + 1] @ x[b, :, i + di, j + dj]
    return result


def normalized(x: Array, scale: Array, shift: Array) -> Array:
    """BatchNorm in training mode: mean and biased variance of each channel over images and places."""
    result = np.empty_like(x)
    for channel in range(x.shape[1]):
        values = x[:, channel]
        mean = values.sum() / values.size
        variance = ((values - mean) ** 2).sum() / values.size
        result[:, channel] = scale[channel] * (values - mean) / math.sqrt(variance + 1e-5) + shift[channel]
    return result


def network(x: Array, weights: Weights, name: str) -> Array:
    """Conv, BN, ReLU, conv, BN, ReLU, conv."""
    for layer in ("1", "2"):
        x = convolved(x, weights[f"{name}.conv{layer}.weight"])
        x = np.maximum(normalized(x, weights[f"{name}.bn{layer}.weight"], weights[f"{name}.bn{layer}.bias"]), 0)
    return convolved(x, weights[f"{name}.conv3.weight"])


def mask_of(a: float, u1: float, u2: float, temperature: float) -> float:
    """exp((log a + g1) / T) over itself plus exp((log(1 - a) + g2) / T), with the code's 1e-8 in the logarithms."""
    g1, g2 = (-math.log(-math.log(max(u, 2.0**-25))) for u in (u1, u2))
    robust = math.exp((math.log(a + 1e-8) + g1) / temperature)
    other = math.exp((math.log(1 - a + 1e-8) + g2) / temperature)
    return robust / (robust + other)


def mask(scores: Array, uniforms: Array, temperature: float) -> Array:
    """Element by element; scores (B, K, H, W), uniforms (B, 2, K, H, W)."""
    result = np.empty_like(scores)
    for place in np.ndindex(*scores.shape):
        first, second = uniforms[place[0], 0, *place[1:]], uniforms[place[0], 1, *place[1:]]
        result[place] = mask_of(1 / (1 + math.exp(-scores[place])), first, second, temperature)
    return result


def logits(part: Array, weight: Array, bias: Array) -> Array:
    """Linear map of the mean over places."""
    pooled = part.sum(axis=(2, 3)) / (part.shape[2] * part.shape[3])
    return np.array([[sum(row * f) + b for row, b in zip(weight, bias, strict=True)] for f in pooled])


def cross_entropy(z: Array, y: Sequence[int]) -> float:
    return sum(math.log(sum(math.exp(v - row[label]) for v in row)) for row, label in zip(z, y, strict=True)) / len(y)


def wrong_class(z: Array, label: int) -> int:
    """What is predicted where that is wrong, and else the second class in the order of the logits."""
    order = sorted(range(len(z)), key=lambda k: -z[k])
    return order[0] if order[0] != label else order[1]


def fsr(
    u: Array, y: Sequence[int], uniforms: Array, weights: Weights, temperature: float, sep: float, rec: float
) -> tuple[float, float, float]:
    """The three weighted terms for feature maps u (B, K, H, W); weights by the names of the network's state."""
    m = mask(network(u, weights, "backbone.separation"), uniforms, temperature)
    robust, nonrobust = m * u, (1 - m) * u
    recalibrated = nonrobust + (1 - m) * network(nonrobust, weights, "backbone.recalibration")
    z = logits(robust + recalibrated, weights["head.linear.weight"], weights["head.linear.bias"])
    h = weights["backbone.auxiliary.linear.weight"], weights["backbone.auxiliary.linear.bias"]
    wrong = [wrong_class(row, label) for row, label in zip(z, y, strict=True)]
    separation = cross_entropy(logits(robust, *h), y) + cross_entropy(logits(nonrobust, *h), wrong)
    return cross_entropy(z, y), sep * separation, rec * cross_entropy(logits(recalibrated, *h), y)


def slope(total: Callable[[Array], float], at: Array, along: Array, step: float = 1e-6) -> float:
    """Derivative of total at a point along a direction, by central differences."""
    return (total(at + step * along) - total(at - step * along)) / (2 * step)
