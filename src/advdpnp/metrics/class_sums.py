"""Sums over the features of each class, batch by batch: what FDR, AFS and SCR need, whatever the number of samples."""

from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

# Samples that are computed with at a time: copies in float64, and memberships of 1,000 classes, are large.
_BLOCK = 16_384


class ClassSums:
    """Sums of each class, in float64; in what order and in which batches samples come changes them by rounding alone.

    Args:
        centers: (C, D), the class centers.
    """

    def __init__(self, centers: Tensor) -> None:
        self.centers = centers.double()
        # N_j, and of the samples of class j: the mean, the sum of squared distances to it, the sum of unit vectors, and
        # the sum of distances to the class center.
        self.size, self.scatter, self.distance = (self.centers.new_zeros(len(centers)) for _ in range(3))
        self.mean, self.directions = torch.zeros_like(self.centers), torch.zeros_like(self.centers)

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, centers: Tensor) -> Self:
        """Of samples that are all there: (N, D), (N,) int64 in [0, C), (C, D)."""
        sums = cls(centers)
        sums.add(features, labels)
        return sums

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Samples more: features (n, D), labels (n,) int64 in [0, C)."""
        if len(labels) == 0:
            return
        for f, y in zip(torch.split(features, _BLOCK), torch.split(labels, _BLOCK), strict=True):
            self._add(f.double(), y)

    def _add(self, f: Tensor, y: Tensor) -> None:
        present, row = torch.unique(y, return_inverse=True)
        # Products with the membership matrix, because scattered additions on a GPU have no fixed order.
        members = functional.one_hot(row, len(present)).double().T
        size = members.sum(dim=1)
        mean = members @ f / size[:, None]
        squares = members @ (f - mean[row]).square().sum(dim=1)
        # Chan, Golub and LeVeque 1983, Eq. 2.1: nothing large is subtracted from something large.
        before, way = self.size[present], mean - self.mean[present]
        share = size / (before + size)
        self.scatter[present] += squares + before * share * way.square().sum(dim=1)
        self.mean[present] += share[:, None] * way
        self.size[present] = before + size
        self.directions[present] += members @ functional.normalize(f, eps=1e-8)
        self.distance[present] += members @ torch.linalg.vector_norm(f - self.centers[y], dim=1)

    @property
    def present(self) -> Tensor:
        """The P classes that have samples: (P,) int64.

        Raises:
            ValueError: there are fewer than 2.
        """
        present = self.size.nonzero().squeeze(1)
        if len(present) < 2:
            raise ValueError(f"geometry needs samples of at least 2 classes; got {len(present)}: use more images")
        return present

    @property
    def global_mean(self) -> Tensor:
        """Of all samples: (D,)."""
        j = self.present
        return (self.size[j, None] * self.mean[j]).sum(dim=0) / self.size.sum()
