"""Smallest radii, one for each image: packed as results hold them, summed up, and in words; no torch."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

Radii = NDArray[np.float32]

# Points of the stored curve beside 0, and the shares of the images that quantiles are given for.
_CURVE, _QUANTILES = 20, (0.05, 0.25, 0.5, 0.75, 0.95)


def pack_radii(radii: Radii) -> str:
    """Radii as base64 of float32 numbers, lowest byte first: about 5.3 characters each.

    Args:
        radii: (n,), 0 where an image is wrong without an attack, inf where no attack broke it.
    """
    return base64.b64encode(np.asarray(radii, "<f4").tobytes()).decode("ascii")


def unpack_radii(text: str, n: int) -> Radii:
    """Inverse of `pack_radii`: (n,) float32; ValueError if the text is not base64, or not that of n images."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != 4 * n:
        raise ValueError(f"radii of {n} images take {4 * n} bytes; got {len(raw)}: text and n are not of one result")
    return np.frombuffer(raw, "<f4").astype(np.float32)


def accuracy_within(radii: Radii, eps: float) -> float:
    """Robust accuracy at a radius, a fraction in [0, 1]: the share of the images whose smallest radius is above it."""
    return float((np.asarray(radii, np.float32) > np.float32(eps)).mean())


def radius_fields(radii: Radii, eps: float) -> dict[str, Any]:
    """What a result says of the smallest radii that were found.

    Args:
        radii: (n,), see `pack_radii`.
        eps: the largest radius that was tried.
    Returns:
        `radii`, packed; `smallest_eps`: `correct`, how many images are right without an attack; of these, `censored`,
        how many no attack broke, `median` and `quantiles`, the smallest radius at which so many are broken, None where
        it is beyond eps, and `mean`, in which a censored image counts as eps; and `curve`, robust accuracy of all n
        images at radii from 0 to eps.
    """
    # An image that is broken at eps, up to rounding, is broken at eps.
    radii = np.where(np.isfinite(radii), np.minimum(radii, np.float32(eps)), radii).astype(np.float32)
    correct = radii[radii > 0]
    grid = [eps * place / _CURVE for place in range(_CURVE + 1)]
    found: dict[str, Any] = {
        "correct": len(correct),
        "censored": int(np.isinf(correct).sum()),
        "median": _quantile(correct, 0.5),
        "mean": float(np.minimum(correct, np.float32(eps)).mean(dtype=np.float64)) if len(correct) else None,
        "quantiles": {str(share): _quantile(correct, share) for share in _QUANTILES},
        "curve": {"eps": grid, "robust_accuracy": [accuracy_within(radii, radius) for radius in grid]},
    }
    return {"radii": pack_radii(radii), "smallest_eps": found}


def _quantile(correct: Radii, share: float) -> float | None:
    """The smallest radius that breaks at least this share of the images; None where none does."""
    if not len(correct):
        return None
    # A whole number of images, but for rounding.
    found = float(np.sort(correct)[max(int(np.ceil(share * len(correct) - 1e-9)), 1) - 1])
    return found if np.isfinite(found) else None
