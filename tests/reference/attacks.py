"""Attacks one image at a time, and what they can reach on a linear classifier.

Images are rows of n pixels in [0, 1], float64. A gradient is a function (x (n,), y) -> (n,) of the loss to maximize.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from reference.losses import log_softmax

Array = NDArray[np.float64]
Gradient = Callable[[Array, int], Array]


def linear_cross_entropy_gradient(weight: Array, bias: Array) -> Gradient:
    """Gradient of CE(W x + b, y) in x, W^T (p - e_y): weight (C, n), bias (C,)."""

    def gradient(x: Array, y: int) -> Array:
        p = np.exp(log_softmax(weight @ x + bias))
        result = -weight[y]
        for probability, row in zip(p, weight, strict=True):
            result = result + probability * row
        return result

    return gradient


def linear_margin_gradient(weight: Array, bias: Array) -> Gradient:
    """Gradient of max_{k != y} z_k - z_y in x, w_rival - w_y: weight (C, n), bias (C,)."""

    def gradient(x: Array, y: int) -> Array:
        z = weight @ x + bias
        rival = max((k for k in range(len(z)) if k != y), key=lambda k: z[k])
        return weight[rival] - weight[y]

    return gradient


def _step(g: Array, norm: str) -> Array:
    """Steepest ascent direction of length 1: sign(g) for linf, g / ||g|| for l2; 0 where g is 0."""
    if norm == "linf":
        return np.sign(g)
    length = math.sqrt(sum(g**2))
    return g / length if length > 0 else np.zeros_like(g)


def _project(iterate: Array, x: Array, norm: str, eps: float) -> Array:
    """Nearest point of the ball around x, then each pixel cut to [0, 1]."""
    delta = iterate - x
    if norm == "linf":
        delta = np.array([min(max(value, -eps), eps) for value in delta])
    else:
        length = math.sqrt(sum(delta**2))
        delta = delta * min(1.0, eps / length) if length > 0 else delta
    return np.array([min(max(value, 0.0), 1.0) for value in x + delta])


def pgd(
    gradient: Gradient,
    x: Array,
    y: Sequence[int],
    norm: str,
    eps: float,
    step_size: float,
    steps: int,
    start: Array,
) -> Array:
    """Projected gradient ascent (Madry et al. 2018): x' <- project(x' + step_size * direction), from `start`.

    Args:
        x: (B, n).
        y: (B,) labels.
        norm: "linf" or "l2".
        start: (B, n), taken as it is.
    Returns:
        (B, n), the last iterate.
    """
    result = []
    for image, label, iterate in zip(x, y, start, strict=True):
        for _ in range(steps):
            iterate = _project(iterate + step_size * _step(gradient(iterate, label), norm), image, norm, eps)
        result.append(iterate)
    return np.array(result)


def fgsm(gradient: Gradient, x: Array, y: Sequence[int], eps: float) -> Array:
    """One sign step of length eps, cut to [0, 1] (Goodfellow et al. 2015): (B, n), (B,) -> (B, n)."""
    return pgd(gradient, x, y, "linf", eps, eps, 1, x)


def linear_optimum(w: Array, x: Array, norm: str, eps: float) -> Array:
    """argmax of w . x' over ||x' - x|| <= eps and x' in [0, 1]^n, in closed form: (n,), (n,) -> (n,).

    linf: every pixel goes eps along sign(w_i), or to the edge of the box.
    l1: the pixels of the largest |w_i| go to the edge, one after the other, as far as the radius lasts.
    l2: pixel i moves min(t |w_i|, room_i) for one t (Karush, Kuhn and Tucker), room_i being its distance to the edge
    that w_i points to; t is the largest that stays in the ball. Where no edge is near this is x + eps w / ||w||.
    PGD, which projects first and cuts after, need not reach the l2 optimum once a pixel is at the edge.
    """
    room = np.array([1 - value if slope > 0 else value for value, slope in zip(x, w, strict=True)])
    if norm == "linf":
        return x + np.sign(w) * np.minimum(eps, room)
    if norm == "l1":
        spent, result = 0.0, x.copy()
        for i in np.argsort(-abs(w)):
            move = min(eps - spent, room[i])
            result[i] += np.sign(w[i]) * move
            spent += move
        return result
    moving = [i for i in range(len(w)) if w[i] != 0]
    moving.sort(key=lambda i: room[i] / abs(w[i]))
    length = np.zeros_like(x)
    budget = eps**2
    for place, i in enumerate(moving):
        t = math.sqrt(budget / sum(w[k] ** 2 for k in moving[place:]))
        if t * abs(w[i]) <= room[i]:
            for k in moving[place:]:
                length[k] = t * abs(w[k])
            break
        length[i] = room[i]
        budget -= room[i] ** 2
    return x + np.sign(w) * length
