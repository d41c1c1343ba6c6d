"""Learning rate of the common recipe: 110 epochs of SGD, as Adv-DPNP and the Bag of Tricks for AT state it."""

import math
from fractions import Fraction


def paper_learning_rate(t: float) -> float:
    """Rate at fractional epoch t in [0, 110): 0.1, from epoch 100 on 0.01, from epoch 105 on 0.001."""
    if t < 100:
        return 0.1
    if t < 105:
        return 0.01
    return 0.001


def learning_rate(t: float | Fraction, epochs: int) -> float:
    """Rate at fractional epoch t in [0, epochs), with milestones at 100/110 and 105/110 of the epochs.

    Computed in fractions: t = epoch + Fraction(step, 391) falls on the right side of a milestone.
    """
    progress = Fraction(t) / epochs
    if progress < Fraction(100, 110):
        return 0.1
    if progress < Fraction(105, 110):
        return 0.01
    return 0.001


def cosine(t: float, epochs: int) -> float:
    """Fraction of the highest rate at fractional epoch t: half a wave from 1 to 0 (Loshchilov and Hutter 2017)."""
    return math.cos(math.pi * t / (2 * epochs)) ** 2


def ramp(epoch: int, epochs: int, fraction: float) -> float:
    """Fraction of the radius in an epoch counted from 1, as IKL's code scales it: epoch / epochs for the whole run."""
    length = fraction * epochs
    return epoch / length if epoch < length else 1.0
