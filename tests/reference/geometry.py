"""Geometry metrics of Adv-DPNP, Eqs. 8-12, by loops over samples and classes.

N samples, C classes, D feature width; a class without samples is left out.
"""

import math
from collections.abc import Sequence

Vector = Sequence[float]


def _mean(vectors: Sequence[Vector]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def _distance(a: Vector, b: Vector) -> float:
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))


def _cosine(a: Vector, b: Vector) -> float:
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    return dot / (math.sqrt(sum(p * p for p in a)) * math.sqrt(sum(q * q for q in b)))


def _by_class(features: Sequence[Vector], labels: Sequence[int]) -> dict[int, list[Vector]]:
    groups: dict[int, list[Vector]] = {}
    for feature, label in zip(features, labels, strict=True):
        groups.setdefault(label, []).append(feature)
    return groups


def fdr_eq8(features: Sequence[Vector], labels: Sequence[int]) -> float:
    """Eq. 8: sum_j [sum_i ||f_i - mu_j||^2] / [N_j ||mu_j - mu||^2]; features (N, D)."""
    mu, total = _mean(features), 0.0
    for group in _by_class(features, labels).values():
        mu_j = _mean(group)
        total += sum(_distance(f, mu_j) ** 2 for f in group) / (len(group) * _distance(mu_j, mu) ** 2)
    return total


def trace_ratio(features: Sequence[Vector], labels: Sequence[int]) -> float:
    """(sum_j sum_i ||f_i - mu_j||^2) / (sum_j N_j ||mu_j - mu||^2); features (N, D)."""
    mu, within, between = _mean(features), 0.0, 0.0
    for group in _by_class(features, labels).values():
        mu_j = _mean(group)
        within += sum(_distance(f, mu_j) ** 2 for f in group)
        between += len(group) * _distance(mu_j, mu) ** 2
    return within / between


def afs(features: Sequence[Vector], labels: Sequence[int]) -> float:
    """Eq. 9: sum_j sum_i (1 - cos(f_i, mu_j)) / sum_j N_j (1 - cos(mu_j, mu)); features (N, D)."""
    mu, within, between = _mean(features), 0.0, 0.0
    for group in _by_class(features, labels).values():
        mu_j = _mean(group)
        within += sum(1 - _cosine(f, mu_j) for f in group)
        between += len(group) * (1 - _cosine(mu_j, mu))
    return within / between


def _nearest_rival_distance(centers: Sequence[Vector], j: int) -> float:
    return min(_distance(c, centers[j]) for k, c in enumerate(centers) if k != j)


def scr(features: Sequence[Vector], labels: Sequence[int], centers: Sequence[Vector]) -> float:
    """Eq. 10: mean_j [min_{k != j} ||c_k - c_j|| / mean_i ||f_i - c_j||]; features (N, D), centers (C, D)."""
    ratios = []
    for j, group in _by_class(features, labels).items():
        compactness = sum(_distance(f, centers[j]) for f in group) / len(group)
        ratios.append(_nearest_rival_distance(centers, j) / compactness)
    return sum(ratios) / len(ratios)


def scr_floor(centers: Sequence[Vector]) -> float:
    """Eq. 10 for features that are all zero: mean_j [min_{k != j} ||c_k - c_j|| / ||c_j||]; centers (C, D)."""
    origin = [0.0] * len(centers[0])
    return sum(_nearest_rival_distance(centers, j) / _distance(c, origin) for j, c in enumerate(centers)) / len(centers)


def _angle_degrees(a: Vector, b: Vector) -> float:
    return math.degrees(math.acos(max(-1.0, min(1.0, _cosine(a, b)))))


def mean_separation_degrees(centers: Sequence[Vector]) -> float:
    """Eq. 11: of every center the angle to its nearest rival, and of these the mean: (C, D) -> degrees."""
    total = 0.0
    for j, own in enumerate(centers):
        nearest = math.inf
        for k, rival in enumerate(centers):
            if k != j:
                nearest = min(nearest, _angle_degrees(own, rival))
        total += nearest
    return total / len(centers)


def min_separation_degrees(centers: Sequence[Vector]) -> float:
    """Eq. 12: the smallest angle between any two centers: (C, D) -> degrees."""
    smallest = math.inf
    for j, own in enumerate(centers):
        for k, rival in enumerate(centers):
            if k != j:
                smallest = min(smallest, _angle_degrees(own, rival))
    return smallest


def mean_pairwise_angle_degrees(centers: Sequence[Vector]) -> float:
    """The mean angle over all pairs of centers, j < k: (C, D) -> degrees."""
    angles = [_angle_degrees(a, b) for j, a in enumerate(centers) for b in centers[j + 1 :]]
    return sum(angles) / len(angles)
