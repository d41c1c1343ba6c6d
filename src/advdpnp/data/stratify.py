"""Fixed subsets in which every class keeps its share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from advdpnp import noise

# One for the test set, and two to learn from, of which one may be held out.
MIN_IMAGES = 3


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


def check_counts(where: str, counts: Mapping[str, int], least: int = MIN_IMAGES) -> None:
    """ValueError naming the classes that have too few images."""
    few = [f"{name} ({count})" for name, count in counts.items() if count < least]
    if few:
        listed = ", ".join(few[:3]) + (f" and {len(few) - 3} more" if len(few) > 3 else "")
        raise ValueError(
            f"each class in {where} needs at least {least} images; got {listed}: add images, or remove the class"
        )


def split_positions(labels: Tensor, split_seed: int) -> tuple[Tensor, Tensor]:
    """Positions of the training and of the test images of a set without a split of its own.

    Args:
        labels: (N,) int64, at least 3 images of each class.
        split_seed: any integer.
    Returns:
        Positions in `labels`: of the training images, sorted, and of the test images, shuffled.
    """
    chosen = []
    for label in range(int(labels.max()) + 1):
        (rows,) = torch.where(labels == label)
        order = noise.permutation(split_seed, "folder-test", label, len(rows))
        chosen.append(rows[order[: tenth(len(rows))]])
    test = torch.cat(chosen)
    in_test = torch.zeros(len(labels), dtype=torch.bool)
    in_test[test] = True
    return torch.where(~in_test)[0], shuffled(test, split_seed)


def shuffled(test: Tensor, split_seed: int) -> Tensor:
    """Positions of test images, (n,) int64, in an order in which the first ones are of several classes."""
    return test[noise.permutation(split_seed, "folder-order", 0, len(test))]


def tenth(count: int) -> int:
    """A tenth, rounded half up, and at least 1."""
    return max(1, (count + 5) // 10)
