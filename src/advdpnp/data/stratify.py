"""Fixed subsets in which every class keeps its share."""

import torch
from torch import Tensor

from advdpnp import noise


def stratified(labels: Tensor, count: int, stream: str) -> Tensor:
    """A fixed pseudo-random subset with every class in proportion (largest remainders).

    Args:
        labels: (N,) int64, N at least 1.
        count: size of the subset, in [0, N].
        stream: name of the purpose; other names give other subsets.
    Returns:
        (count,) int64 positions in `labels`, sorted.
    Raises:
        ValueError: count is not in [0, N].
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"a subset of {len(labels)} images needs a size in [0, {len(labels)}]; got {count}")
    order = noise.permutation(0, stream, 0, len(labels), labels.device)
    quotas = _quotas(torch.bincount(labels), count).tolist()
    return torch.cat([order[labels[order] == label][:quota] for label, quota in enumerate(quotas)]).sort().values


def _quotas(sizes: Tensor, count: int) -> Tensor:
    """(C,) int64 that sum to `count`, in proportion to `sizes` by largest remainders; the lower class wins a tie."""
    scaled = sizes * count
    quotas = scaled // sizes.sum()
    # In integers, so that a tie is a tie on every machine.
    remainders = scaled % sizes.sum()
    quotas[torch.argsort(remainders, descending=True, stable=True)[: count - int(quotas.sum())]] += 1
    return quotas
