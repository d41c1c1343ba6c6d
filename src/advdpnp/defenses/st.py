"""Standard training: no defense."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp.defenses.base import Batch, Defense
from advdpnp.models.classifier import Backbone, Classifier, check_embedding, with_embedding


@dataclass(frozen=True)
class ST(Defense[Classifier]):
    """Cross-entropy on clean images.

    Args:
        embedding: "native", the backbone's own features, or "linear(D)".
    """

    name: ClassVar[str] = "st"
    crafts: ClassVar[bool] = False

    embedding: str = "native"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_embedding(self.embedding)

    def build(self, backbone: Backbone, num_classes: int) -> Classifier:
        """The backbone with a linear head."""
        return super().build(with_embedding(backbone, self.embedding), num_classes)

    def loss(self, model: Classifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        return {"ce_clean": batch.cross_entropy(model(batch.x)).mean()}
