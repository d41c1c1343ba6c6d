"""Adv-DPNP with the helper term of HAT: a margin method beside prototypes, which the paper says go together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor

from advdpnp.defenses.adv_dpnp import AdvDPNP
from advdpnp.defenses.base import Batch
from advdpnp.defenses.hat import HAT, HelpedClassifier, helper_example
from advdpnp.losses import cross_entropy
from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.copying import copied
from advdpnp.models.heads import LinearHead, PrototypeClassifier
from advdpnp.ranges import NonNegative


class HelpedPrototypeClassifier(HelpedClassifier, PrototypeClassifier):
    """A classifier with prototypes, and the standard-trained network that labels its helper examples."""


@dataclass(frozen=True)
class AdvDPNPHAT(AdvDPNP):
    """Adv-DPNP's loss (Eq. 7) + gamma CE(z(x_h), y_h), the helper term of HAT, whose logits read detached prototypes.

    x_h is made of an adversarial image, and those move no prototype, unless `prototype_gradient` says "both". Fields of
    AdvDPNP, and:

    Args:
        gamma: weight of the helper examples.
        h: how far the helper example lies, in lengths of the perturbation.
    Note:
        As for HAT, `loss` raises until `install` has given the helper trained weights.
    """

    name: ClassVar[str] = "adv-dpnp-hat"
    needs: ClassVar[str | None] = HAT.needs

    gamma: NonNegative = HAT.gamma
    h: NonNegative = HAT.h

    def build(self, backbone: Backbone, num_classes: int) -> HelpedPrototypeClassifier:
        """Adv-DPNP's network, and a second one of the same architecture with a linear head as helper."""
        model = super().build(backbone, num_classes)
        helper = copied(Classifier(backbone, LinearHead(backbone.features, num_classes)))
        return HelpedPrototypeClassifier(model.backbone, model.head, helper, trained=False)

    def install(self, model: PrototypeClassifier, helper_weights: Mapping[str, Tensor]) -> None:
        """Give the helper the weights of a standard-trained network."""
        _helped(model).helper.network.load_state_dict(helper_weights)

    def _helper_term(self, model: PrototypeClassifier, x: Tensor, x_adv: Tensor) -> Tensor:
        x_h, y_h = helper_example(_helped(model), x, x_adv, self.h)
        return self.gamma * cross_entropy(self._adversarial_logits(model, model.embed(x_h)), y_h)

    def loss(self, model: PrototypeClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        terms = super().loss(model, batch, x_adv)
        return {**terms, "ce_helper": self._helper_term(model, batch.x, x_adv).mean()}

    def objective(self, model: PrototypeClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Adv-DPNP's objective and the helper term, per example, (B,)."""
        return super().objective(model, x, x_adv, y) + self._helper_term(model, x, x_adv)


def _helped(model: PrototypeClassifier) -> HelpedPrototypeClassifier:
    """What `build` makes: a defense's methods are typed by the network of the method that it extends."""
    return cast(HelpedPrototypeClassifier, model)
