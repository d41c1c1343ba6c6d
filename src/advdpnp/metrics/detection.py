"""How well a score tells images of the training distribution from others, and right answers from wrong ones.

A higher score means more like the training data. Images of that distribution are the positive class.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from advdpnp.result_files import score_interval

# (n,) floats: an array of numpy, or a tensor of torch on the CPU.
Scores = Any


@dataclass(frozen=True)
class Threshold:
    """A threshold on a score: images at or above it are accepted.

    Args:
        value: the largest one that accepts enough of the inside.
        true_positive_rate: share of the inside that is accepted.
        false_positive_rate: share of the outside that is accepted, in [0, 1]; lower is better.
        interval95: Wilson's interval of that share, the threshold taken as given.
    """

    value: float
    true_positive_rate: float
    false_positive_rate: float
    interval95: tuple[float, float]


@dataclass(frozen=True)
class AcceptCurve:
    """Accuracy of what is accepted, as more and more images are, those of the highest scores first.

    Args:
        coverage: (k,) shares of the images that are accepted, ascending, ending with 1.
        accuracy: (k,) accuracy of these.
        aurc: area under the curve of risk (1 - accuracy) against coverage, its mean over 1, 2, ..., n accepted images;
            lower is better.
        best: the same of a score that puts every right answer before every wrong one.
    """

    coverage: list[float]
    accuracy: list[float]
    aurc: float
    best: float


def auroc(inside: Scores, outside: Scores) -> float:
    """Probability that a random inside image scores higher than a random outside one; a tie counts half.

    Args:
        inside: (m,) scores of images of the training distribution, m at least 1.
        outside: (n,) scores of others, n at least 1.
    Returns:
        In [0, 1]: 1 where the scores separate, 0.5 where they are of one distribution.
    Raises:
        ValueError: a score that is no number, or no score at all.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_labeled(inside, outside)))


def auroc_interval(value: float, inside: int, outside: int) -> tuple[float, float]:
    """95 % interval of an AUROC of so many inside and outside images, valid for any distribution of the scores.

    The variance of an empirical AUROC A is at most A (1 - A) / min(m, n) (van Dantzig 1951; Birnbaum and Klose 1957):
    that of a share of min(m, n) images, so that Wilson's interval of such a share covers it. It is wider than one from
    an estimate of the variance (DeLong et al. 1988), which has length 0 where the scores separate.
    """
    fewer = min(inside, outside)
    low, high = score_interval(value * fewer, fewer)
    return low, high


def roc_at(inside: Scores, outside: Scores, true_positive_rates: Scores) -> np.ndarray:
    """The smallest false positive rate at which at least so much of the inside is accepted.

    Args:
        inside: (m,) scores.
        outside: (n,) scores.
        true_positive_rates: (k,) in [0, 1].
    Returns:
        (k,) in [0, 1]; 0 where nothing has to be accepted.
    """
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(*_labeled(inside, outside), drop_intermediate=False)
    # Rates are multiples of 1 / m, and rounding must not move one across.
    place = np.searchsorted(true, np.asarray(true_positive_rates, float) - 1e-12, side="left")
    return np.asarray(false[place])


def threshold_at(inside: Scores, outside: Scores, true_positive_rate: float = 0.95) -> Threshold:
    """The highest threshold that accepts at least this share of the inside, and what it accepts of the outside.

    With ties all images of one score are accepted together. Args and Raises as `auroc`.
    """
    wanted, given = _finite(inside), _finite(outside)
    value = highest_threshold(wanted, true_positive_rate)
    passed = int((given >= value).sum())
    rate = float(roc_at(wanted, given, [true_positive_rate])[0])
    return Threshold(value, float((wanted >= value).mean()), rate, score_interval(passed, len(given)))


def highest_threshold(scores: Scores, share: float) -> float:
    """The highest value that at least this share of the scores, (m,), is at or above."""
    ordered = np.sort(_finite(scores))[::-1]
    return float(ordered[int(np.ceil(share * len(ordered) - 1e-9)) - 1])


def accept_curve(scores: Scores, right: Scores, points: int = 20) -> AcceptCurve:
    """Accuracy against coverage, and the area under the risk (Geifman and El-Yaniv 2017).

    Images of equal scores are in no order: of some of them, the mean over all orders counts.

    Args:
        scores: (n,) floats, n at least 1.
        right: (n,) bool, whether the classifier's answer is right.
        points: how many coverages are listed, at equal distance; fewer where there are fewer images.
    """
    values, correct = _finite(scores), np.asarray(right, bool)
    risks = _risks(values, correct)
    accepted = np.unique(np.ceil(np.linspace(0, 1, points + 1)[1:] * len(values) - 1e-9).astype(int))
    return AcceptCurve(
        coverage=[float(count / len(values)) for count in accepted],
        accuracy=[float(1 - risks[count - 1]) for count in accepted],
        aurc=float(risks.mean()),
        best=float(_risks(correct.astype(float), correct).mean()),
    )


def _risks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Share of wrong answers among the k images of the highest scores, for k = 1, ..., n."""
    _, group, size = np.unique(-scores, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=~right) / size
    return np.cumsum(np.repeat(share, size)) / np.arange(1, len(scores) + 1)


def _finite(scores: Scores) -> np.ndarray:
    found = np.asarray(scores, np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        bad = f"{int((~np.isfinite(found)).sum())} that are none" if found.size else "none"
        raise ValueError(f"scores must be finite numbers, one for each image; got shape {found.shape}, {bad}")
    return found


def _labeled(inside: Scores, outside: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Labels, 1 for inside, and scores, as scikit-learn takes them."""
    wanted, given = _finite(inside), _finite(outside)
    return np.concatenate([np.ones(len(wanted)), np.zeros(len(given))]), np.concatenate([wanted, given])
