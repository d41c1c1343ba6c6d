"""PCL by loops over samples, classes and layers, in float64; gradients worked out by hand (Mustafa et al. 2019).

A layer is (features of all samples (N, D), centers that pull (C, D), centers that push (C, D)); the samples are the
clean images and, after them, the adversarial ones.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Layer = tuple[Array, Array, Array]


def squared_length(v: Array) -> float:
    """Within [1e-12, 1e12]."""
    return min(max(math.fsum(float(value) ** 2 for value in v), 1e-12), 1e12)


def cross_entropy(logits: Array, label: int) -> float:
    highest = max(logits)
    return float(math.log(sum(math.exp(value - highest) for value in logits)) + highest - logits[label])


def pcl(
    logits: Array, layers: Sequence[Layer], y: Sequence[int], proximity: float, contrast: float
) -> tuple[float, float, float]:
    """Cross-entropy, weighted pull, and weighted push with its sign; each a mean over the samples."""
    samples, classes = logits.shape
    entropy = sum(cross_entropy(logits[i], label) for i, label in enumerate(y)) / samples
    pull = push = 0.0
    for features, own, other in layers:
        for i, label in enumerate(y):
            pull += squared_length(features[i] - own[label]) / samples
            for k in range(classes):
                if k != label:
                    push += squared_length(features[i] - other[k]) / (samples * (classes - 1))
    return entropy, proximity * pull, -contrast * push


def logit_gradient(logits: Array, y: Sequence[int]) -> Array:
    """d cross-entropy / d logits."""
    gradient = np.zeros_like(logits)
    for i, label in enumerate(y):
        powers = [math.exp(value - max(logits[i])) for value in logits[i]]
        gradient[i] = [(power / sum(powers) - (k == label)) / len(y) for k, power in enumerate(powers)]
    return gradient


def layer_gradients(layer: Layer, y: Sequence[int], proximity: float, contrast: float) -> Layer:
    """d(pull + push) / d features, / d centers that pull, / d centers that push, where nothing is clamped."""
    features, own, other = layer
    samples, classes = len(y), len(own)
    on_features, on_own, on_other = (np.zeros_like(part) for part in layer)
    for i, label in enumerate(y):
        towards = 2 * proximity * (features[i] - own[label]) / samples
        on_features[i] += towards
        on_own[label] -= towards
        for k in range(classes):
            if k != label:
                away = -2 * contrast * (features[i] - other[k]) / (samples * (classes - 1))
                on_features[i] += away
                on_other[k] -= away
    return on_features, on_own, on_other


def center_step(centers: Array, gradient: Array, weight: float, rate: float) -> Array:
    """Plain SGD on the gradient of the weighted term, divided by its weight."""
    return centers - rate * gradient / weight
