"""Geometry of features and class centers (Adv-DPNP, arXiv 2504.03782, Eqs. 8-12), computed in float64.

mu_j is the mean feature of class j, mu that of all samples, N_j the size of class j, c_j the center of class j: its
prototype, or its classifier row. A class with no sample is left out of the sums over classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# Samples that are computed with at a time: copies in float64, and memberships of 1,000 classes, are large.
_BLOCK = 16_384


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


@dataclass(frozen=True)
class _Classes:
    """The P classes that have samples: which (P,), the place of each sample's class among them (N,), N_j (P,)."""

    present: Tensor
    row: Tensor
    size: Tensor

    def mean(self, features: Tensor, of: Callable[[Tensor, Tensor], Tensor] = lambda f, row: f) -> Tensor:
        """Mean over the samples of each class, (P, K).

        Args:
            features: (N, D).
            of: what the mean is of: features (n, D) in float64 and the places of their classes (n,) -> (n, K).
        """
        total = torch.zeros((), dtype=torch.float64, device=features.device)
        for f, row in self.blocks(features):
            # A product with the membership matrix, because scattered additions on a GPU have no fixed order.
            total = total + functional.one_hot(row, len(self.present)).double().T @ of(f, row)
        return total / self.size[:, None]

    def blocks(self, features: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (n, D) in float64 and the places of their classes (n,), some samples at a time."""
        for f, row in zip(torch.split(features, _BLOCK), torch.split(self.row, _BLOCK), strict=True):
            yield f.double(), row


def _global_mean(features: Tensor) -> Tensor:
    """(N, D) -> (D,) float64."""
    total = torch.stack([block.double().sum(dim=0) for block in torch.split(features, _BLOCK)]).sum(dim=0)
    return total / len(features)


def _classes(labels: Tensor, num_classes: int) -> _Classes:
    size = torch.bincount(labels, minlength=num_classes)
    present = size.nonzero().squeeze(1)
    if len(present) < 2:
        raise ValueError(f"geometry needs samples of at least 2 classes; got {len(present)}: use more images")
    row = (size > 0).cumsum(0)[labels] - 1
    return _Classes(present, row, size[present].double())


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
    classes = _classes(labels, num_classes)
    means = classes.mean(features)
    squares = classes.mean(features, lambda f, row: (f - means[row]).square().sum(dim=1, keepdim=True))
    within = squares.squeeze(1) * classes.size
    between = classes.size * (means - _global_mean(features)).square().sum(dim=1)
    count, trace_ratio = len(classes.present), float(within.sum() / between.sum())
    return FDR(float((within / between).sum()), trace_ratio, trace_ratio / count, count)


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
    classes = _classes(labels, num_classes)
    means = classes.mean(features)
    blocks = classes.blocks(features)
    within = torch.stack([(1 - functional.cosine_similarity(f, means[row])).sum() for f, row in blocks]).sum()
    between = 1 - functional.cosine_similarity(means, _global_mean(features)[None])
    return float(within / (classes.size * between).sum())


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
    classes, c = _classes(labels, len(centers)), centers.double()
    own = c[classes.present]
    distance = classes.mean(features, lambda f, row: torch.linalg.vector_norm(f - own[row], dim=1, keepdim=True))
    return float((_nearest_rival_distance(c)[classes.present] / distance.squeeze(1)).mean())


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
