"""SLIDE (Tramer and Boneh 2019, arXiv 1904.13000): projected ascent in l1 along many coordinates at once."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from advdpnp.attacks.attack import Target, check_attack
from advdpnp.attacks.l1_variants import Quantile, SparseL1
from advdpnp.attacks.pgd import CrossEntropyAscent, budget_of, settle_step
from advdpnp.ranges import Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class SLIDE(CrossEntropyAscent):
    """Sparse l1 descent: PGD in l1 whose steps move the pixels of the largest 1 % of the gradient, by equal amounts.

    Far stronger than PGD in l1 along single coordinates, which the box stops after a pixel each.

    Args:
        eps: radius, the sum of all changes.
        norm: "l1".
        steps: iterations.
        step_size: l1 length of a step; 0 stands for 2.5 eps / steps.
        quantile: share of the pixels that a step leaves as they are.
        restarts: ascents from different starts; the widest misclassification of each image is kept.
        random_start: start at a random point of the ball, else at the image.
        target: class to aim at: ascent on its log likelihood; None for any wrong class.
    """

    name: ClassVar[str] = "slide"

    eps: NonNegative = 2000 / 255
    norm: Literal["l1"] = "l1"
    steps: Count = 100
    step_size: NonNegative = 0.0
    quantile: Quantile = 0.99
    restarts: Count = 1
    random_start: bool = True
    target: Target = None

    def __post_init__(self) -> None:
        check_attack(self)
        settle_step(self, 2.5 * self.eps / self.steps)
        budget_of(self)

    @property
    def threat(self) -> SparseL1:
        """The ball, with the steps of this attack."""
        return SparseL1(self.norm, self.eps, self.quantile)
