"""Which classes are taken for which."""

import torch
from torch import Tensor


def confusion(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts of images by true and by predicted class.

    Args:
        labels: (N,) int64 in [0, num_classes).
        predictions: (N,) int64 in [0, num_classes).
        num_classes: C.
    Returns:
        (C, C) int64, true classes in rows: the entries sum to N, those on the diagonal are right.
    """
    return torch.bincount(labels * num_classes + predictions, minlength=num_classes**2).view(num_classes, num_classes)
