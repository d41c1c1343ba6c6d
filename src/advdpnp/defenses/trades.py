"""TRADES (Zhang et al. 2019): accuracy on clean images, traded against consistency in the ball."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advdpnp.attacks.projected_ascent import Ascend, Start
from advdpnp.attacks.projected_ascent import kl_divergence as kl_ascent
from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import kl_divergence
from advdpnp.models.classifier import Classifier
from advdpnp.ranges import NonNegative


@dataclass(frozen=True)
class TRADES(Defense[Classifier]):
    """CE(z(x), y) + beta KL(p(x) || p(x')), x' crafted on the same KL (Eq. 5).

    Args:
        beta: weight of the consistency, 1/lambda of the paper.
    Note:
        As in the authors' code the target p(x) is not detached. Their code forwards the clean batch twice in training
        mode; we do once, as most re-implementations, which updates BatchNorm's averages once less.
    """

    name: ClassVar[str] = "trades"
    start: ClassVar[Start] = "normal"

    beta: NonNegative = 6.0

    def perturb(self, model: Classifier, batch: Batch, ascend: Ascend) -> Tensor:
        with torch.no_grad():
            clean = model(batch.x)
        return ascend(model, kl_ascent, batch.x, (clean,))

    def steadier(self) -> str:
        return f"defense.beta below {self.beta:g}"

    def loss(self, model: Classifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        clean = model(batch.x)
        consistency = kl_divergence(clean, model(x_adv)).mean()
        return {"ce_clean": batch.cross_entropy(clean).mean(), "kl": self.beta * consistency}

    def objective(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return kl_divergence(model(x), model(x_adv))
