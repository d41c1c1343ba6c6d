"""Accuracy from verdicts: one bool per image, True where it is classified correctly (under attack, if there is one).

A verdict is stored for every image, so that intervals and paired tests can be redone without a second run.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from advdpnp import result_files


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927), without continuity correction.

    Args:
        successes: number of correct images, in [0, n].
        n: number of images, at least 1.
        confidence: coverage, in (0, 1).
    Returns:
        (low, high), fractions in [0, 1].
    """
    from scipy.special import ndtri

    return result_files.score_interval(successes, n, float(ndtri(0.5 + 0.5 * confidence)))


def mcnemar(a: result_files.Bits, b: result_files.Bits) -> float:
    """Exact McNemar test (McNemar 1947): do two classifiers differ in accuracy on the same images?

    It uses the images that exactly one of them classifies correctly: fair coin tosses if the accuracies are equal.

    Args:
        a: (N,) bool, a tensor or an array, verdicts of one classifier.
        b: (N,) bool, likewise, verdicts of the other on the same images in the same order.
    Returns:
        Two-sided p-value in (0, 1]; 1 where the verdicts are equal.
    """
    return result_files.paired_p(int((a & ~b).sum()), int((b & ~a).sum()))


def worst_case(verdicts: Sequence[Tensor]) -> Tensor:
    """Correct under every attack: k tensors of (N,) bool, k at least 1 -> (N,) bool."""
    return torch.stack(list(verdicts)).all(dim=0)


def pack(verdicts: Tensor) -> str:
    """Verdicts as base64 of packed bits, first image in the highest bit, zeros at the end.

    Args:
        verdicts: (N,) bool.
    Returns:
        About N / 6 characters: 1.7 kB for 10,000 images.
    """
    return result_files.pack(verdicts.cpu().numpy())


def append(text: str, n: int, more: Tensor) -> str:
    """`pack` of n verdicts and more of them, at a cost that does not grow with n.

    Args:
        text: what `pack` returned of the first n.
        n: number of these.
        more: (M,) bool, those that follow.
    """
    # Four characters hold 24 bits, so what comes before the last, unfilled four stays as it is.
    groups = n // 24
    rest = unpack(text[4 * groups :], n % 24)
    return text[: 4 * groups] + pack(torch.cat([rest, more.cpu()]))


def unpack(text: str, n: int) -> Tensor:
    """Inverse of `pack`.

    Args:
        text: what `pack` returned.
        n: number of images.
    Returns:
        (n,) bool on the CPU.
    Raises:
        ValueError: the text is not base64 or not that of n images.
    """
    return torch.from_numpy(result_files.unpack(text, n))
