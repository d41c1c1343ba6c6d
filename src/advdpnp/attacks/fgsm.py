"""The fast gradient sign method (Goodfellow et al. 2015)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp.attacks.ascent import cross_entropy
from advdpnp.attacks.attack import Logits, budget_of, check_attack, strongest
from advdpnp.attacks.call import attack_call
from advdpnp.noise import Noise
from advdpnp.ranges import NonNegative
from advdpnp.threat import Ball


@dataclass(frozen=True, kw_only=True)
class FGSM:
    """One cross-entropy step of length eps from the image.

    Args:
        eps: radius, and length of the step.
        norm: "linf", or "l2" for the fast gradient method.
    """

    name: ClassVar[str] = "fgsm"
    steps: ClassVar[int] = 1
    restarts: ClassVar[int] = 1
    random_start: ClassVar[bool] = False

    eps: NonNegative = 8 / 255
    norm: Ball = "linf"

    def __post_init__(self) -> None:
        check_attack(self)
        budget_of(self)

    @property
    def step_size(self) -> float:
        return self.eps

    @attack_call
    def __call__(self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        return strongest(self, logits_fn, cross_entropy, x, y, noise)
