"""MART, AT_HE and ALP by loops over samples and classes, in float64; gradients on the logits worked out by hand."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(z: Array) -> Array:
    powers = [math.exp(value - max(z)) for value in z]
    return np.array([value / sum(powers) for value in powers])


def rival_of(q: Array, label: int) -> int:
    """The most probable class but the true one."""
    return max((k for k in range(len(q)) if k != label), key=lambda k: float(q[k]))


def mart(clean: Array, adversarial: Array, y: Sequence[int], beta: float) -> tuple[float, float, float]:
    """Cross-entropy, rival term and weighted KL, each a mean over samples (Wang et al. 2020, Eqs. 9-11)."""
    ce = rival = kl = 0.0
    for z, z_adv, label in zip(clean, adversarial, y, strict=True):
        p, q = softmax(z), softmax(z_adv)
        ce += -math.log(q[label])
        rival += -math.log(1.0001 - q[rival_of(q, label)] + 1e-12)
        divergence = sum(p[k] * (math.log(p[k]) - math.log(q[k] + 1e-12)) for k in range(len(p)))
        kl += beta * divergence * (1.0000001 - p[label])
    n = len(clean)
    return ce / n, rival / n, kl / n


def mart_gradients(clean: Array, adversarial: Array, y: Sequence[int], beta: float) -> tuple[Array, Array]:
    """d(ce + rival + kl) / d clean logits and / d adversarial logits.

    With s' = diag(s) - s s^T the softmax's Jacobian: for a function h of p, dh/dz = p * (dh/dp - sum_k p_k dh/dp_k).
    """

    def through_softmax(p: Array, by_p: Array) -> Array:
        mean = sum(p[k] * by_p[k] for k in range(len(p)))
        return np.array([p[k] * (by_p[k] - mean) for k in range(len(p))])

    n, classes = clean.shape
    on_clean, on_adversarial = np.zeros_like(clean), np.zeros_like(adversarial)
    for i, label in enumerate(y):
        p, q = softmax(clean[i]), softmax(adversarial[i])
        weight = 1.0000001 - p[label]
        divergence = sum(p[k] * (math.log(p[k]) - math.log(q[k] + 1e-12)) for k in range(classes))
        by_p = np.array([beta * weight * (math.log(p[k]) - math.log(q[k] + 1e-12) + 1) for k in range(classes)])
        by_p[label] -= beta * divergence
        by_q = np.array([-beta * weight * p[k] / (q[k] + 1e-12) for k in range(classes)])
        by_q[label] -= 1 / q[label]
        rival = rival_of(q, label)
        by_q[rival] += 1 / (1.0001 - q[rival] + 1e-12)
        on_clean[i], on_adversarial[i] = through_softmax(p, by_p) / n, through_softmax(q, by_q) / n
    return on_clean, on_adversarial


def hypersphere(cosines: Array, y: Sequence[int], scale: float, margin: float) -> float:
    """-mean log of the true class's share of e^{s (cos - m [true])} (Pang et al. 2020, Eq. 9)."""
    total = 0.0
    for row, label in zip(cosines, y, strict=True):
        own = math.exp(scale * (row[label] - margin))
        others = sum(math.exp(scale * value) for k, value in enumerate(row) if k != label)
        total += -math.log(own / (own + others))
    return total / len(cosines)


def hypersphere_gradient(cosines: Array, y: Sequence[int], scale: float, margin: float) -> Array:
    """d hypersphere / d cosines."""
    gradient = np.zeros_like(cosines)
    for i, label in enumerate(y):
        shifted = cosines[i].copy()
        shifted[label] -= margin
        gradient[i] = scale * softmax(scale * shifted)
        gradient[i, label] -= scale
    return gradient / len(cosines)


def hypersphere_row_gradient(features: Array, rows: Array, y: Sequence[int], scale: float, margin: float) -> Array:
    """d hypersphere / d rows of cosines f_i . w_k / (|f_i| |w_k|) with |w_k| a constant: features (N, D), rows (C, D).

    d cos_ik / d w_k is then f_i / (|f_i| |w_k|), which has a part along w_k; with |w_k| live it would have none.
    """
    unit = np.array([f / math.sqrt(sum(v * v for v in f)) for f in features])
    lengths = [math.sqrt(sum(v * v for v in w)) for w in rows]
    cosines = np.array([[float(f @ w) / length for w, length in zip(rows, lengths, strict=True)] for f in unit])
    by_cosine = hypersphere_gradient(cosines, y, scale, margin)
    gradient = np.zeros_like(rows)
    for k, length in enumerate(lengths):
        for i, f in enumerate(unit):
            gradient[k] += by_cosine[i, k] * f / length
    return gradient


def alp(clean: Array, adversarial: Array, y: Sequence[int], beta: float) -> tuple[float, float, float]:
    """Half the clean and half the adversarial cross-entropy, and beta times the mean squared logit difference."""
    n, classes = clean.shape
    halves = [
        sum(-math.log(softmax(z)[label]) for z, label in zip(logits, y, strict=True)) / (2 * n)
        for logits in (clean, adversarial)
    ]
    squares = sum((clean[i, k] - adversarial[i, k]) ** 2 for i in range(n) for k in range(classes))
    return halves[0], halves[1], beta * squares / (n * classes)


def alp_gradients(clean: Array, adversarial: Array, y: Sequence[int], beta: float) -> tuple[Array, Array]:
    """d alp / d clean logits and / d adversarial logits."""
    n, classes = clean.shape
    pull = 2 * beta * (clean - adversarial) / (n * classes)
    gradients = []
    for logits, sign in ((clean, 1), (adversarial, -1)):
        gradient = np.array([softmax(z) for z in logits]) / (2 * n)
        for i, label in enumerate(y):
            gradient[i, label] -= 1 / (2 * n)
        gradients.append(gradient + sign * pull)
    return gradients[0], gradients[1]
