"""ALP, adversarial logit pairing (Kannan et al. 2018)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import at_least_fp32
from advdpnp.models.classifier import Classifier
from advdpnp.ranges import NonNegative


def logit_pairing(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Mean squared difference of two sets of logits over the classes: (B, C), (B, C) -> (B,) >= 0."""
    return (at_least_fp32(clean) - at_least_fp32(adversarial)).square().mean(dim=1)


@dataclass(frozen=True)
class ALP(Defense[Classifier]):
    """1/2 CE(z(x), y) + 1/2 CE(z(x'), y) + beta mean (z(x) - z(x'))^2, x' crafted on the cross-entropy.

    Args:
        beta: weight of the pairing.
    Note:
        Hyper-parameters as in the code of Pang et al. 2020, which compares it; nothing is detached.
    """

    name: ClassVar[str] = "alp"

    beta: NonNegative = 0.5

    def steadier(self) -> str:
        return f"defense.beta below {self.beta:g}"

    def loss(self, model: Classifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        clean, adversarial = model(batch.x), model(x_adv)
        return {
            "ce_clean": batch.cross_entropy(clean).mean() / 2,
            "ce_adversarial": batch.cross_entropy(adversarial).mean() / 2,
            "pairing": self.beta * logit_pairing(clean, adversarial).mean(),
        }
