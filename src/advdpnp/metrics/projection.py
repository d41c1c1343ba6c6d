"""Features of any width in a plane: principal components, and t-SNE; computed in float64."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

# Neighbors that t-SNE weighs for each point, where there are enough: scikit-learn's default.
PERPLEXITY = 30.0


class PrincipalPlane(NamedTuple):
    """The plane in which points vary most.

    Args:
        mean: (D,), the point of the plane that is drawn at the origin.
        axes: (2, D), orthonormal; of each axis the entry of largest magnitude is positive.
        explained: (2,), shares of the variance along them, in [0, 1].
    """

    mean: Points
    axes: Points
    explained: Points

    def project(self, points: NDArray[Any]) -> Points:
        """Coordinates in the plane: (N, D) -> (N, 2)."""
        return (points.astype(np.float64) - self.mean) @ self.axes.T


def principal_plane(points: NDArray[Any]) -> PrincipalPlane:
    """The first two principal components (scikit-learn's PCA, exact).

    Args:
        points: (N, D), N and D at least 2.
    Raises:
        ValueError: all points are the same.
    """
    from sklearn.decomposition import PCA

    wide = points.astype(np.float64)
    if not np.ptp(wide, axis=0).any():
        raise ValueError("all points are the same: there is no plane in which they vary")
    found = PCA(n_components=2, svd_solver="full").fit(wide)
    # An axis and its opposite are as good; which of them a solver gives is up to its library.
    largest = np.abs(found.components_).argmax(axis=1)
    signs = np.sign(found.components_[[0, 1], largest])
    return PrincipalPlane(found.mean_, found.components_ * signs[:, None], found.explained_variance_ratio_)


def perplexity(count: int) -> float:
    """That of a t-SNE map of so many points, which must be more than three times as many."""
    return min(PERPLEXITY, (count - 1) / 3)


def neighbor_map(points: NDArray[Any], seed: int = 0) -> Points:
    """A t-SNE map (van der Maaten and Hinton 2008; scikit-learn's): near points stay near each other.

    Distances, sizes and empty space in it mean nothing.

    Args:
        points: (N, D), N at least 4, D at least 2, not all the same.
        seed: the map begins at the principal components, and what is random has this seed.
    Returns:
        (N, 2). Equal on one machine; on another the last bits, and so details of the map, may differ.
    """
    from sklearn.manifold import TSNE

    neighbors = perplexity(len(points))
    made = TSNE(n_components=2, perplexity=neighbors, init="pca", random_state=seed, method="barnes_hut")
    found: Points = made.fit_transform(points.astype(np.float64)).astype(np.float64)
    return found
