"""HAT, helper-based adversarial training (Rade and Moosavi-Dezfooli 2021), which avoids excessive margins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from advdpnp.attacks.projected_ascent import Ascend, Start
from advdpnp.attacks.projected_ascent import kl_divergence as kl_ascent
from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import cross_entropy, kl_divergence
from advdpnp.models.classifier import Backbone, Classifier, Head, Helper
from advdpnp.models.copying import copied
from advdpnp.models.heads import LinearHead
from advdpnp.ranges import NonNegative


class HelpedClassifier(Classifier):
    """A classifier with the standard-trained network that labels its helper examples; its logits do not use it."""

    def __init__(self, backbone: Backbone, head: Head, helper: Classifier, trained: bool = True) -> None:
        super().__init__(backbone, head)
        self.helper = Helper(helper, trained)


def helper_example(model: HelpedClassifier, x: Tensor, x_adv: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """The helper example and its label.

    Args:
        model: has the helper.
        x, x_adv: (B, channels, H, W).
        h: how far the example lies, in lengths of the perturbation.
    Returns:
        x_h = x + h (x' - x), and its hard label y_h (B,), which is read at x' and neither at x nor at x_h.
    """
    return x + h * (x_adv - x), model.helper(x_adv).argmax(dim=1)


@dataclass(frozen=True)
class HAT(Defense[HelpedClassifier]):
    """CE(z(x), y) + beta KL(p(x) || p(x')) + gamma CE(z(x_h), y_h), with x_h = x + h (x' - x).

    y_h is the class that a network trained without attacks predicts for x'. Beyond the adversarial image the label may
    change, as it does for that network, so the margin does not grow more than it must.

    Args:
        beta: weight of the adversarial images.
        gamma: weight of the helper examples.
        h: how far the helper example lies, in lengths of the perturbation; it is clamped neither to the ball nor to
            [0, 1].
        adversarial_loss: what x' is crafted on and trained with: the "kl" of TRADES, whose target is not detached, or
            the "ce" of AT.
    Note:
        `build` makes a helper without trained weights, and `loss` raises until `install` has given it some, as
        `advdpnp.train` does.
    """

    name: ClassVar[str] = "hat"
    start: ClassVar[Start] = "normal"
    needs: ClassVar[str | None] = "st"

    beta: NonNegative = 2.5
    gamma: NonNegative = 0.5
    h: NonNegative = 2.0
    adversarial_loss: Literal["kl", "ce"] = "kl"

    def build(self, backbone: Backbone, num_classes: int) -> HelpedClassifier:
        """The backbone with a linear head, and a second network of the same architecture as helper."""
        head = LinearHead(backbone.features, num_classes)
        return HelpedClassifier(backbone, head, copied(Classifier(backbone, head)), trained=False)

    def install(self, model: HelpedClassifier, helper_weights: Mapping[str, Tensor]) -> None:
        """Give the helper the weights of a standard-trained network."""
        model.helper.network.load_state_dict(helper_weights)

    def perturb(self, model: HelpedClassifier, batch: Batch, ascend: Ascend) -> Tensor:
        if self.adversarial_loss == "ce":
            return super().perturb(model, batch, ascend)
        with torch.no_grad():
            clean = model(batch.x)
        return ascend(model, kl_ascent, batch.x, (clean,))

    def steadier(self) -> str:
        return f"defense.beta below {self.beta:g}"

    def loss(self, model: HelpedClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        x_h, y_h = helper_example(model, batch.x, x_adv, self.h)
        clean, adversarial, beyond = model(batch.x), model(x_adv), model(x_h)
        terms = {"ce_clean": batch.cross_entropy(clean).mean()}
        if self.adversarial_loss == "kl":
            terms["kl"] = self.beta * kl_divergence(clean, adversarial).mean()
        else:
            terms["ce_adversarial"] = self.beta * batch.cross_entropy(adversarial).mean()
        terms["ce_helper"] = self.gamma * cross_entropy(beyond, y_h).mean()
        return terms

    def objective(self, model: HelpedClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The terms that depend on x', per example, (B,)."""
        x_h, y_h = helper_example(model, x, x_adv, self.h)
        adversarial = model(x_adv)
        near = kl_divergence(model(x), adversarial) if self.adversarial_loss == "kl" else cross_entropy(adversarial, y)
        return self.beta * near + self.gamma * cross_entropy(model(x_h), y_h)
