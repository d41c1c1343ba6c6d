"""HAT by loops over samples and classes, in float64; gradients on the logits worked out by hand."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(z: Array) -> Array:
    powers = [math.exp(value - max(z)) for value in z]
    return np.array([value / sum(powers) for value in powers])


def helper_example(x: Array, x_adv: Array, h: float) -> Array:
    """x + h (x' - x), pixel by pixel."""
    return np.array([a + h * (b - a) for a, b in zip(x.ravel(), x_adv.ravel(), strict=True)]).reshape(x.shape)


def hat(
    clean: Array, adversarial: Array, beyond: Array, y: Sequence[int], y_h: Sequence[int], beta: float, gamma: float
) -> tuple[float, float, float]:
    """Clean cross-entropy, beta times the KL, gamma times the cross-entropy of the helper examples; means."""
    ce = kl = helper = 0.0
    for i, label in enumerate(y):
        p, q, s = softmax(clean[i]), softmax(adversarial[i]), softmax(beyond[i])
        ce += -math.log(p[label])
        kl += sum(p[k] * math.log(p[k] / q[k]) for k in range(len(p)))
        helper += -math.log(s[y_h[i]])
    n = len(y)
    return ce / n, beta * kl / n, gamma * helper / n


def hat_gradients(
    clean: Array, adversarial: Array, beyond: Array, y: Sequence[int], y_h: Sequence[int], beta: float, gamma: float
) -> tuple[Array, Array, Array]:
    """d hat / d logits of x, x' and x_h; the target of the KL is live.

    d KL / d z_k = p_k (log(p_k / q_k) - KL), d KL / d z'_k = q_k - p_k.
    """
    n, classes = clean.shape
    on_clean, on_adversarial, on_beyond = (np.zeros_like(clean) for _ in range(3))
    for i, label in enumerate(y):
        p, q, s = softmax(clean[i]), softmax(adversarial[i]), softmax(beyond[i])
        kl = sum(p[k] * math.log(p[k] / q[k]) for k in range(classes))
        for k in range(classes):
            on_clean[i, k] = (p[k] - (k == label) + beta * p[k] * (math.log(p[k] / q[k]) - kl)) / n
            on_adversarial[i, k] = beta * (q[k] - p[k]) / n
            on_beyond[i, k] = gamma * (s[k] - (k == y_h[i])) / n
    return on_clean, on_adversarial, on_beyond
