"""How far the features of a class are spread, in angle and in radius, class by class; computed in float64.

What Figure 2 of Adv-DPNP (arXiv 2504.03782) shows to the eye, as numbers, for features of any width. The definitions
are those of directional statistics (Mardia and Jupp 2000, chapters 2 and 9); the paper gives none.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.metrics.distances import angles_degrees


def angular_spread_degrees(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Root mean square of the angle between a feature and the mean direction of its class.

    The mean direction is that of the sum of the features at length 1, so the radius has no part in it. In two
    dimensions this is the standard deviation of the angle about that direction.

    Args:
        features: (N, D); zero vectors have no direction and are left out.
        labels: (N,) int64 in [0, num_classes).
        num_classes: C.
    Returns:
        (C,) float64, degrees in [0, 180]; NaN for a class of fewer than two features with a direction, or whose
        directions cancel.
    """

    def spread(of_class: Tensor) -> Tensor:
        directed = of_class[of_class.norm(dim=1) > 0]
        direction = functional.normalize(directed, dim=1, eps=0).sum(dim=0)
        return _root_mean_square(angles_degrees(directed, direction))

    return _by_class(features, labels, num_classes, spread, fewest=2)


def angle_to_center_degrees(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Root mean square of the angle between a feature and the center of its class.

    Args:
        features: (N, D); zero vectors have no direction and are left out.
        labels: (N,) int64 in [0, C).
        centers: (C, D).
    Returns:
        (C,) float64, degrees in [0, 180]; NaN for a class without features that have a direction, or with the center 0.
    """
    angles = angles_degrees(features, centers[labels])
    # A center of zero length has no direction either.
    directed = features.double().norm(dim=1) > 0
    return _by_class(angles[directed, None], labels[directed], len(centers), _root_mean_square, fewest=1)


def radial_spread(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Standard deviation of the length of a class's features over their mean length.

    Args:
        features: (N, D).
        labels: (N,) int64 in [0, num_classes).
        num_classes: C.
    Returns:
        (C,) float64 >= 0, without unit; 0 for features of one length. NaN for a class of fewer than two features, or
        whose features are all zero.
    """

    def spread(of_class: Tensor) -> Tensor:
        radius = torch.linalg.vector_norm(of_class, dim=1)
        relative: Tensor = radius.std(correction=0) / radius.mean()
        return relative

    return _by_class(features, labels, num_classes, spread, fewest=2)


def _root_mean_square(angles: Tensor) -> Tensor:
    root: Tensor = angles.square().mean().sqrt()
    return root


def _by_class(
    values: Tensor, labels: Tensor, num_classes: int, measure: Callable[[Tensor], Tensor], fewest: int
) -> Tensor:
    """The measure of each class's rows, NaN where there are fewer than `fewest`."""
    wide, found = values.double(), torch.full((num_classes,), torch.nan, dtype=torch.float64)
    for label in range(num_classes):
        rows = wide[labels == label]
        if len(rows) >= fewest:
            found[label] = measure(rows)
    return found
