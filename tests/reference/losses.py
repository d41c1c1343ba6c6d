"""Losses by loops over samples and classes, and the derivatives of Adv-DPNP's Eq. 7 worked out by hand.

B samples, C classes, D feature width; every array is float64.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def log_softmax(z: Array) -> Array:
    """log p_k = z_k - log sum_j exp(z_j): (C,) -> (C,)."""
    top = max(z)
    log_sum = top + math.log(sum(math.exp(value - top) for value in z))
    return np.array([value - log_sum for value in z])


def cross_entropy(logits: Array, y: Sequence[int]) -> Array:
    """-log softmax(z)_y: (B, C), (B,) -> (B,)."""
    return np.array([-log_softmax(z)[label] for z, label in zip(logits, y, strict=True)])


def kl_divergence(logits_p: Array, logits_q: Array) -> Array:
    """KL(p || q) = sum_k p_k log(p_k / q_k): (B, C), (B, C) -> (B,)."""
    result = []
    for z_p, z_q in zip(logits_p, logits_q, strict=True):
        log_p, log_q = log_softmax(z_p), log_softmax(z_q)
        result.append(sum(math.exp(a) * (a - b) for a, b in zip(log_p, log_q, strict=True)))
    return np.array(result)


def margin(logits: Array, y: Sequence[int]) -> Array:
    """max_{k != y} z_k - z_y (Carlini and Wagner 2017): (B, C), (B,) -> (B,)."""
    return np.array(
        [max(value for k, value in enumerate(z) if k != label) - z[label] for z, label in zip(logits, y, strict=True)]
    )


def carlini_wagner(logits: Array, y: Sequence[int], kappa: float) -> Array:
    """-max(z_y - max_{k != y} z_k + kappa, 0), which the attack maximizes: (B, C), (B,) -> (B,) <= 0."""
    return np.array([-max(kappa - value, 0.0) for value in margin(logits, y)])


def trades(logits: Array, logits_adv: Array, y: Sequence[int], beta: float) -> float:
    """mean CE(z(x), y) + beta mean KL(p(x) || p(x')) (Zhang et al. 2019, Eq. 5)."""
    return float(np.mean(cross_entropy(logits, y)) + beta * np.mean(kl_divergence(logits, logits_adv)))


def prototype_logits(f: Array, prototypes: Array, alpha: float) -> Array:
    """z_j = c_j . f / alpha (Adv-DPNP Eq. 1): (B, D), (C, D) -> (B, C)."""
    return np.array([[sum(c * feature) / alpha for c in prototypes] for feature in f])


def prototype_alignment(f: Array, prototypes: Array, y: Sequence[int], alignment: str) -> Array:
    """||f - c_y||^2 (Adv-DPNP Eq. 3, without lambda / 2): (B, D), (C, D), (B,) -> (B,).

    `alignment` "sum" adds the D squares up, as printed; "mean" divides by D.
    """
    squares = [sum((feature - prototypes[label]) ** 2) for feature, label in zip(f, y, strict=True)]
    return np.array(squares) * _alignment_scale(prototypes, alignment)


def _alignment_scale(prototypes: Array, alignment: str) -> float:
    return {"sum": 1.0, "mean": 1.0 / prototypes.shape[1]}[alignment]


def nearest_rival(prototypes: Array) -> list[int]:
    """neg(j) = argmin_{k != j} ||c_k - c_j||_2, the lowest index of a tie (Adv-DPNP Eq. 4): (C, D) -> C indices."""
    rivals = []
    for j, c in enumerate(prototypes):
        best, best_distance = -1, math.inf
        for k, other in enumerate(prototypes):
            distance = math.sqrt(sum((other - c) ** 2))
            if k != j and distance < best_distance:
                best, best_distance = k, distance
        rivals.append(best)
    return rivals


def prototype_repulsion(prototypes: Array, smoothing: float = 1e-3) -> float:
    """-(1/C) sum_j sum_i (v_i^2 + smoothing^2)^(1/4), v = c_j - c_neg(j) (Adv-DPNP Eq. 5, smoothed)."""
    total = 0.0
    for j, rival in enumerate(nearest_rival(prototypes)):
        total += sum((v**2 + smoothing**2) ** 0.25 for v in prototypes[j] - prototypes[rival])
    return -total / len(prototypes)


def adv_dpnp_terms(
    f: Array,
    f_adv: Array,
    prototypes: Array,
    y: Sequence[int],
    alpha: float,
    lambda_dpp: float,
    lambda_dnp: float,
    lambda_dfa: float,
    alignment: str,
    prototypes_adv: Array | None = None,
) -> dict[str, float]:
    """The terms of Adv-DPNP's Eq. 7, weighted as they stand in it; the loss L is their sum.

    L = lambda_DNP N + (1/2) [mean D(x) + mean D(x') + lambda_DFA mean KL(p(x) || p(x'))],
    D = CE + (lambda_DPP / 2) ||f - c_y||^2.

    Args:
        f: (B, D) features of the clean images.
        f_adv: (B, D) features of the adversarial images.
        prototypes: (C, D).
        y: (B,) labels.
        alignment: "sum" or "mean" over the D coordinates of Eq. 3.
        prototypes_adv: (C, D), what the adversarial branch reads. Equal to `prototypes`, and by default the same
            array; passed apart to be held constant when `prototypes` is varied.
    """
    fixed = prototypes if prototypes_adv is None else prototypes_adv
    z, z_adv = prototype_logits(f, prototypes, alpha), prototype_logits(f_adv, fixed, alpha)
    return {
        "ce_clean": 0.5 * float(np.mean(cross_entropy(z, y))),
        "dpp_clean": 0.5 * lambda_dpp / 2 * float(np.mean(prototype_alignment(f, prototypes, y, alignment))),
        "ce_adversarial": 0.5 * float(np.mean(cross_entropy(z_adv, y))),
        "dpp_adversarial": 0.5 * lambda_dpp / 2 * float(np.mean(prototype_alignment(f_adv, fixed, y, alignment))),
        "dfa": 0.5 * lambda_dfa * float(np.mean(kl_divergence(z, z_adv))),
        "dnp": lambda_dnp * prototype_repulsion(prototypes),
    }


def _repulsion_gradient(prototypes: Array, smoothing: float = 1e-3) -> Array:
    """dN / dc, rivals live: each v = c_j - c_neg(j) pulls on c_j and, with the other sign, on c_neg(j)."""
    gradient = np.zeros_like(prototypes)
    for j, rival in enumerate(nearest_rival(prototypes)):
        v = prototypes[j] - prototypes[rival]
        slope = -v / (2 * len(prototypes) * (v**2 + smoothing**2) ** 0.75)
        gradient[j] += slope
        gradient[rival] -= slope
    return gradient


def adv_dpnp_gradients(
    f: Array,
    f_adv: Array,
    prototypes: Array,
    y: Sequence[int],
    alpha: float,
    lambda_dpp: float,
    lambda_dnp: float,
    lambda_dfa: float,
    alignment: str,
) -> dict[str, Array]:
    """Derivatives of Eq. 7, by hand: dL/df (B, D), dL/df' (B, D), dL/dc (C, D). Arguments as in `adv_dpnp_terms`.

    D(x') and p(x') read constant prototypes; p(x) and the rivals are live. With K = KL(p || q), p = softmax(z) and
    q = softmax(z'): dCE/dz = p - e_y, dK/dz_k = p_k (log p_k - log q_k - K), dK/dz' = q - p.
    """
    share = 0.5 / len(f)
    pull = lambda_dpp * _alignment_scale(prototypes, alignment)
    z, z_adv = prototype_logits(f, prototypes, alpha), prototype_logits(f_adv, prototypes, alpha)
    consistency = kl_divergence(z, z_adv)
    grad_f, grad_f_adv = np.zeros_like(f), np.zeros_like(f_adv)
    grad_c = lambda_dnp * _repulsion_gradient(prototypes)
    for i, label in enumerate(y):
        log_p, log_q = log_softmax(z[i]), log_softmax(z_adv[i])
        p, q = np.exp(log_p), np.exp(log_q)
        for k, c in enumerate(prototypes):
            one_hot = float(k == label)
            grad_z = p[k] - one_hot + lambda_dfa * p[k] * (log_p[k] - log_q[k] - consistency[i])
            grad_z_adv = q[k] - one_hot + lambda_dfa * (q[k] - p[k])
            grad_f[i] += share * grad_z * c / alpha
            grad_f_adv[i] += share * grad_z_adv * c / alpha
            grad_c[k] += share * grad_z * f[i] / alpha
        grad_f[i] += share * pull * (f[i] - prototypes[label])
        grad_f_adv[i] += share * pull * (f_adv[i] - prototypes[label])
        grad_c[label] -= share * pull * (f[i] - prototypes[label])
    return {"f": grad_f, "f_adv": grad_f_adv, "prototypes": grad_c}
