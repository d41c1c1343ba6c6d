"""Adversarial training (Madry et al. 2018): the loss at the strongest point of the ball."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp.defenses.base import Batch, Defense
from advdpnp.models.classifier import Classifier


@dataclass(frozen=True)
class AT(Defense[Classifier]):
    """Cross-entropy on adversarial images only, crafted on the cross-entropy."""

    name: ClassVar[str] = "at"

    def loss(self, model: Classifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        return {"ce_adversarial": batch.cross_entropy(model(x_adv)).mean()}
