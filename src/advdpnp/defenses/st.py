"""Standard training: no defense."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp.attacks.ascent import Ascend
from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import cross_entropy
from advdpnp.models.classifier import Classifier


@dataclass(frozen=True)
class ST(Defense[Classifier]):
    """Cross-entropy on clean images."""

    name: ClassVar[str] = "st"

    def perturb(self, model: Classifier, batch: Batch, ascend: Ascend) -> Tensor:
        return batch.x

    def loss(self, model: Classifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        return {"ce_clean": cross_entropy(model(batch.x), batch.y).mean()}
