"""Averages of a list of weight vectors, by their definitions."""

from collections.abc import Sequence

import torch


def exponential(history: Sequence[torch.Tensor], decay: float) -> torch.Tensor:
    """sum_i c_i w_i in float64, the first with c_0 = decay^n and the others with c_i = (1 - decay) decay^(n - i)."""
    n = len(history) - 1
    total = decay**n * history[0].double()
    for i in range(1, n + 1):
        total = total + (1 - decay) * decay ** (n - i) * history[i].double()
    return total


def equal(history: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean, in float64."""
    return torch.stack([w.double() for w in history]).mean(dim=0)
