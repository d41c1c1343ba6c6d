"""Standard training: no defense."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp.defenses.base import Batch, Defense
from advdpnp.models.classifier import Classifier


@dataclass(frozen=True)
class ST(Defense[Classifier]):
    """Cross-entropy on clean images."""

    name: ClassVar[str] = "st"
    crafts: ClassVar[bool] = False

    def loss(self, model: Classifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        return {"ce_clean": batch.cross_entropy(model(batch.x)).mean()}
