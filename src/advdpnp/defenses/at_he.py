"""AT_HE, hypersphere embedding (Pang et al. 2020, "Boosting Adversarial Training with Hypersphere Embedding")."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from advdpnp.attacks.projected_ascent import Start
from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import is_label
from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.heads import CosineHead
from advdpnp.ranges import NonNegative, Positive


class HypersphereClassifier(Classifier):
    """A classifier whose logits are scaled cosines."""

    head: CosineHead

    def __init__(self, backbone: Backbone, head: CosineHead) -> None:
        super().__init__(backbone, head)


@dataclass(frozen=True)
class ATHE(Defense[HypersphereClassifier]):
    """CE of s (cos theta_k - m [k = y]) on adversarial images, crafted with m = 0 (Eq. 9 with PGD-AT).

    Args:
        scale: s, what cosines are multiplied by to be logits, > 0.
        margin: m, taken off the true class's cosine in the loss of training alone.
    Note:
        The scale is part of the network, so every attack sees s cos theta. The authors' own PGD test attacks the bare
        cosines, whose softmax is nearly uniform: a different and mostly weaker attack. Their code sets the rows to
        length 1 in every forward, past autograd; here they are divided by their length outside the graph, and set to
        length 1 after every step: the same gradients and steps.
    """

    name: ClassVar[str] = "at-he"
    start: ClassVar[Start] = "normal"

    scale: Positive = 10.0
    margin: NonNegative = 0.2

    def build(self, backbone: Backbone, num_classes: int) -> HypersphereClassifier:
        """The backbone with a cosine head."""
        return HypersphereClassifier(backbone, CosineHead(backbone.features, num_classes, self.scale))

    def between_epochs(self, model: HypersphereClassifier, epochs_done: int) -> None:
        model.head.renormalize()

    def between_steps(self, model: HypersphereClassifier) -> None:
        model.head.renormalize()

    def steadier(self) -> str:
        return f"defense.scale below {self.scale:g}"

    def loss(self, model: HypersphereClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        logits = model(x_adv)
        margin = self.scale * self.margin * is_label(batch.y, logits.shape[1]).to(logits.dtype)
        return {"he_adversarial": batch.cross_entropy(logits - margin).mean()}
