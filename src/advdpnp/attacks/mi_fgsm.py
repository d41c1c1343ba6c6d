"""MI-FGSM (Dong et al. 2018): projected ascent along a decaying sum of normalized gradients."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advdpnp.attacks.attack import Logits, Target, attack_call, check_attack
from advdpnp.attacks.pgd import settle_step
from advdpnp.attacks.projected_ascent import AscentLoss, Forward, cross_entropy, likelihood
from advdpnp.noise import Noise
from advdpnp.ranges import Count, NonNegative
from advdpnp.threat import Ball, ThreatModel


@dataclass(frozen=True, kw_only=True)
class MIFGSM:
    """Ascent on the cross-entropy with momentum: g <- decay g + gradient / ||gradient||_1 (Dong et al. 2018, Eq. 6).

    Args:
        eps: radius in the units of the norm.
        norm: "linf" for steps along the sign of g, or "l2" for steps along g.
        steps: iterations.
        step_size: length of a step; 0 stands for eps / steps (Dong et al.).
        decay: what is left of the sum from one step to the next; 0 is BIM.
        target: class to aim at, as in `PGD`.
    """

    name: ClassVar[str] = "mi-fgsm"
    restarts: ClassVar[int] = 1
    random_start: ClassVar[bool] = False

    eps: NonNegative = 8 / 255
    norm: Ball = "linf"
    steps: Count = 10
    step_size: NonNegative = 0.0
    decay: NonNegative = 1.0
    target: Target = None

    def __post_init__(self) -> None:
        check_attack(self)
        settle_step(self, self.eps / self.steps)

    @attack_call
    def __call__(
        self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None, target: Tensor | None = None
    ) -> Tensor:
        threat, x_adv, total = ThreatModel(self.norm, self.eps), x, torch.zeros_like(x)
        loss, aim = (cross_entropy, y) if target is None else (likelihood, target)
        for _ in range(self.steps):
            gradient = _gradient(logits_fn, loss, x_adv, aim)
            length = gradient.flatten(1).abs().sum(dim=1).view(-1, 1, 1, 1)
            # The tiny floor keeps 0 / 0 away; a zero gradient adds nothing.
            total = self.decay * total + gradient / length.clamp_min(torch.finfo(length.dtype).tiny)
            x_adv = threat.project(x_adv + self.step_size * threat.step(total), x)
        return x_adv if target is None else torch.where((target == y).view(-1, 1, 1, 1), x, x_adv)


def _gradient(forward: Forward, loss: AscentLoss, x: Tensor, aim: Tensor) -> Tensor:
    """Gradient of each image's loss in that image: (B, channels, H, W)."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        # The sum, not the mean: each image's gradient is its own.
        total = loss(forward(x), (aim,), ()).sum()
    (gradient,) = torch.autograd.grad(total, x)
    return gradient
