"""Geometry of features and class centers (Adv-DPNP, arXiv 2504.03782, Eqs. 8-12), computed in float64.

mu_j is the mean feature of class j, mu that of all samples, N_j the size of class j, c_j the center of class j: its
prototype, or its classifier row. A class with no sample is left out of the sums over classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.metrics.class_sums import ClassSums


class FDR(NamedTuple):
    """Fisher discriminant ratio, within-class over between-class scatter: lower is more discriminative.

    Args:
        eq8: sum_j W_j / B_j, as Eq. 8 prints it.
        trace_ratio: sum_j W_j / sum_j B_j.
        trace_ratio_per_class: trace_ratio / classes, the form whose magnitude fits the paper's table.
        classes: number of classes that have samples.
    """

    eq8: float
    trace_ratio: float
    trace_ratio_per_class: float
    classes: int


def fdr(features: Tensor, labels: Tensor, num_classes: int) -> FDR:
    """Fisher discriminant ratio (Eq. 8): W_j = sum_i ||f_i - mu_j||^2 against B_j = N_j ||mu_j - mu||^2.

    Args:
        features: (N, D), not normalized.
        labels: (N,) int64 in [0, num_classes).
        num_classes: C.
    Returns:
        Three forms, each >= 0 and without unit; see `FDR`.
    Raises:
        ValueError: fewer than 2 classes have samples.
    """
    return fdr_of(_sums(features, labels, num_classes))


def fdr_of(sums: ClassSums) -> FDR:
    """`fdr` of the samples of some sums."""
    j = sums.present
    within, between = sums.scatter[j], sums.size[j] * (sums.mean[j] - sums.global_mean).square().sum(dim=1)
    trace_ratio = float(within.sum() / between.sum())
    return FDR(float((within / between).sum()), trace_ratio, trace_ratio / len(j), len(j))


def afs(features: Tensor, labels: Tensor, num_classes: int) -> float:
    """Angular Fisher score (Eq. 9): sum_ij (1 - cos(f_i, mu_j)) / sum_j N_j (1 - cos(mu_j, mu)).

    Args:
        features: (N, D), not normalized; a zero vector has cosine 0 to everything.
        labels: (N,) int64 in [0, num_classes).
        num_classes: C.
    Returns:
        >= 0, without unit; lower is more discriminative.
    Raises:
        ValueError: fewer than 2 classes have samples.
    Note:
        Cosines are to the raw global mean, as printed, which is far from 0 for features after a ReLU.
    """
    return afs_of(_sums(features, labels, num_classes))


def afs_of(sums: ClassSums) -> float:
    """`afs` of the samples of some sums: the cosines to a mean add up to one product with the sum of unit vectors."""
    j = sums.present
    means = functional.normalize(sums.mean[j], eps=1e-8)
    within = sums.size[j] - (sums.directions[j] * means).sum(dim=1)
    between = 1 - functional.cosine_similarity(sums.mean[j], sums.global_mean[None])
    return float(within.sum() / (sums.size[j] * between).sum())


def _sums(features: Tensor, labels: Tensor, num_classes: int) -> ClassSums:
    """For what needs no class centers."""
    return ClassSums.of(features, labels, features.new_zeros(num_classes, features.shape[1]))


def _nearest_rival_distance(centers: Tensor) -> Tensor:
    """min_{k != j} ||c_k - c_j||: (C, D) -> (C,)."""
    # The form through matrix products loses half the digits of a small distance.
    distance = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.fill_diagonal_(torch.inf).amin(dim=1)


def scr(features: Tensor, labels: Tensor, centers: Tensor) -> float:
    """Separation-to-compactness ratio (Eq. 10): mean_j of min_{k != j} ||c_k - c_j|| / mean_i ||f_i - c_j||.

    Args:
        features: (N, D), not normalized.
        labels: (N,) int64 in [0, C).
        centers: (C, D); those of classes without samples still count as rivals.
    Returns:
        >= 0, without unit; higher is more separate. Meaningful only where features and centers share a scale;
        compare it with `scr_floor`.
    Raises:
        ValueError: fewer than 2 classes have samples.
    """
    return scr_of(ClassSums.of(features, labels, centers))


def scr_of(sums: ClassSums) -> float:
    """`scr` of the samples of some sums."""
    j = sums.present
    return float((_nearest_rival_distance(sums.centers)[j] / (sums.distance[j] / sums.size[j])).mean())


def scr_floor(centers: Tensor) -> float:
    """SCR of features that are all zero, for comparison: mean_j of min_{k != j} ||c_k - c_j|| / ||c_j||.

    Args:
        centers: (C, D), no row zero.
    Returns:
        >= 0, without unit; sqrt(2C / (C - 1)) for a simplex. Not a bound: worse features score less.
    """
    c = centers.double()
    return float((_nearest_rival_distance(c) / torch.linalg.vector_norm(c, dim=1)).mean())


def _angles_degrees(centers: Tensor) -> Tensor:
    """Angle between every two centers: (C, D) -> (C, C) in [0, 180], infinite on the diagonal."""
    if len(centers) < 2:
        raise ValueError(f"angles need at least 2 centers; got {len(centers)}")
    unit = functional.normalize(centers.double())
    return torch.rad2deg(torch.arccos((unit @ unit.T).clamp(-1, 1))).fill_diagonal_(torch.inf)


def mean_separation_degrees(centers: Tensor) -> float:
    """MeanSep (Eq. 11): angle between a center and its nearest rival, averaged over the centers.

    Args:
        centers: (C, D), C at least 2, no row zero.
    Returns:
        Degrees in [0, 180]; arccos(-1 / (C - 1)) for a simplex.
    Raises:
        ValueError: fewer than 2 centers.
    Note:
        Eq. 11 takes the arccosine of c_j . c_k with ||c_j|| = 40; the rows are normalized here first.
    """
    return float(_angles_degrees(centers).amin(dim=1).mean())


def min_separation_degrees(centers: Tensor) -> float:
    """MinSep (Eq. 12): smallest angle between two centers. All else as in `mean_separation_degrees`."""
    return float(_angles_degrees(centers).min())


def mean_pairwise_angle_degrees(centers: Tensor) -> float:
    """Mean angle over all pairs of centers, near and far; not a metric of the paper.

    All else as in `mean_separation_degrees`, which it is never below.
    """
    angles = _angles_degrees(centers).fill_diagonal_(0)
    return float(angles.sum() / (len(angles) * (len(angles) - 1)))
