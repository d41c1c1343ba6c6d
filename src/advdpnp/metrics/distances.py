"""Distances and angles between embeddings and class centers, in float64 for inputs of any dtype."""

import torch
from torch import Tensor


def distances(features: Tensor, centers: Tensor) -> Tensor:
    """||f - c|| row by row.

    Args:
        features: (..., D).
        centers: (..., D), of a shape that goes with `features`.
    Returns:
        (...) float64.
    """
    return _norm(features.double() - centers.double())


def angles_degrees(features: Tensor, centers: Tensor) -> Tensor:
    """Angle between f and c row by row, in [0, 180]; NaN where one of them is zero. Arguments as `distances`."""
    f, c = _unit(features), _unit(centers)
    # An arccosine loses half the digits of a small angle (Kahan).
    return torch.rad2deg(2 * torch.atan2(_norm(f - c), _norm(f + c)))


def _unit(vectors: Tensor) -> Tensor:
    wide = vectors.double()
    return wide / _norm(wide).unsqueeze(-1)


def _norm(vectors: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return norm


def or_none(angle: float) -> float | None:
    """The angle, or None where it is NaN, undefined."""
    return None if angle != angle else angle
