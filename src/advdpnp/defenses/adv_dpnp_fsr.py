"""Adv-DPNP on features that FSR separates and recalibrates, which the paper says go together."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

from torch import Tensor

from advdpnp.defenses.adv_dpnp import AdvDPNP
from advdpnp.defenses.base import Batch
from advdpnp.defenses.fsr import FSR, RecalibratedClassifier, auxiliary_losses, randomly_separated
from advdpnp.losses import cross_entropy
from advdpnp.models.classifier import Backbone, with_embedding
from advdpnp.models.heads import PrototypeClassifier, PrototypeHead
from advdpnp.models.recalibration import RecalibratedBackbone
from advdpnp.ranges import NonNegative, Positive


class RecalibratedPrototypeClassifier(RecalibratedClassifier, PrototypeClassifier):
    """A classifier with prototypes on a backbone with separation and recalibration."""


@dataclass(frozen=True)
class AdvDPNPFSR(AdvDPNP):
    """Adv-DPNP's loss (Eq. 7) on FSR's features + lambda_sep and lambda_rec times FSR's losses of its modules on x'.

    Clean and adversarial features have the random mask of their image, attacks and evaluation the one without noise.
    FSR's losses read its auxiliary head, so they move no prototype. Fields of AdvDPNP, and:

    Args:
        temperature: of the mask, > 0.
        lambda_sep: weight of the separation.
        lambda_rec: weight of the recalibration.
    Raises:
        ValueError: `forward` is "joint": the mask is drawn for one batch of images at a time.
    """

    name: ClassVar[str] = "adv-dpnp-fsr"

    temperature: Positive = FSR.temperature
    lambda_sep: NonNegative = FSR.lambda_sep
    lambda_rec: NonNegative = FSR.lambda_rec

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forward == "joint":
            raise ValueError(f"defense.forward of {self.name} must be separate; got joint: take adv-dpnp for that")

    def build(self, backbone: Backbone, num_classes: int) -> RecalibratedPrototypeClassifier:
        """The backbone with FSR's modules in it, and prototypes in place of a linear head."""
        separated = RecalibratedBackbone(with_embedding(backbone, self.embedding), num_classes, self.temperature)
        return RecalibratedPrototypeClassifier(separated, PrototypeHead(separated.features, num_classes, self.alpha))

    def loss(self, model: PrototypeClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        backbone = _recalibrated(model)
        clean, adversarial = (randomly_separated(backbone, batch, x) for x in (batch.x, x_adv))
        embedding, embedding_adv = backbone.pool(clean.together), backbone.pool(adversarial.together)
        logits_adv = self._adversarial_logits(model, embedding_adv)
        separation, recalibration = auxiliary_losses(backbone, adversarial, logits_adv, batch.y, batch.cross_entropy)
        return {
            **self._terms(model, batch, embedding, embedding_adv),
            "separation": self.lambda_sep * separation.mean(),
            "recalibration": self.lambda_rec * recalibration.mean(),
        }

    def objective(self, model: PrototypeClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Adv-DPNP's objective and FSR's losses, per example, under the mask without noise, (B,)."""
        backbone = _recalibrated(model)
        parts = backbone.separate(backbone.backbone.feature_map(x_adv))
        label_loss = partial(cross_entropy, y=y)
        separation, recalibration = auxiliary_losses(backbone, parts, model(x_adv), y, label_loss)
        return super().objective(model, x, x_adv, y) + self.lambda_sep * separation + self.lambda_rec * recalibration


def _recalibrated(model: PrototypeClassifier) -> RecalibratedBackbone:
    """What `build` makes: a defense's methods are typed by the network of the method that it extends."""
    return cast(RecalibratedPrototypeClassifier, model).backbone
