"""OC, the orthogonal classifier (Xu et al. 2021): embeddings are regressed on fixed, dense, orthogonal class rows."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from advdpnp.attacks.projected_ascent import Ascend, Tensors
from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import Reduction, at_least_fp32, prototype_alignment
from advdpnp.models.activations import with_prelu, without_last_relu
from advdpnp.models.classifier import Backbone, Classifier, check_embedding, with_embedding
from advdpnp.models.heads import OrthogonalHead
from advdpnp.ranges import Positive, Share


def squared_distance(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """Ascent loss ||f(x') - w_y||^2 of the embedding, (B,); reference = (rows of the labels (B, D),)."""
    return (at_least_fp32(output) - reference[0]).square().sum(dim=1)


def initialize_kaiming(backbone: Backbone) -> None:
    """Draw the weight of every convolution from N(0, 2 / fan_out) (He et al. 2015), in place."""
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class OrthogonalClassifier(Classifier):
    """A classifier whose head is a fixed orthogonal matrix."""

    head: OrthogonalHead

    def __init__(self, backbone: Backbone, head: OrthogonalHead) -> None:
        super().__init__(backbone, head)


@dataclass(frozen=True)
class OC(Defense[OrthogonalClassifier]):
    """leverage S(x) + (1 - leverage) S(x'), S the mean square of f - w_y, f the embedding, w_y a fixed orthogonal row.

    x' is as far from w_y as the attack gets it. There is no cross-entropy, so the recipe's label smoothing has nothing
    to act on.

    Args:
        scale: length of the rows, > 0. Their entries are +-scale / sqrt(D), half of them negative.
        leverage: share of the clean images in the loss, in [0, 1].
        reduction: of the squares over the D coordinates. With the authors' "mean" gradients shrink as D grows.
        activation: how embeddings come to have negative coordinates: "prelu", a PReLU for every ReLU, as the authors
            have it, or "signed", ReLU but for the last, which is left out.
        embedding: "native", the backbone's own features, or "linear(D)" where their number is no power of two.
        initialization: of the convolutions: the "backbone"'s own, or "kaiming", as the authors have it.
    Note:
        On its rows an image's logits are scale^2 and 0, so the cross-entropy of the logits has hardly a gradient in
        fp32. Evaluations attack the margin too, and say so.
    """

    name: ClassVar[str] = "oc"

    scale: Positive = 10.0
    leverage: Share = 0.15
    reduction: Reduction = "mean"
    activation: Literal["prelu", "signed"] = "prelu"
    embedding: str = "native"
    initialization: Literal["backbone", "kaiming"] = "backbone"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_embedding(self.embedding)

    def steadier(self) -> str:
        return "defense.reduction=mean" if self.reduction == "sum" else ""

    def build(self, backbone: Backbone, num_classes: int) -> OrthogonalClassifier:
        """The backbone with an embedding of either sign, and fixed orthogonal rows."""
        backbone = with_prelu(backbone) if self.activation == "prelu" else without_last_relu(backbone)
        if self.initialization == "kaiming":
            initialize_kaiming(backbone)
        backbone = with_embedding(backbone, self.embedding)
        return OrthogonalClassifier(backbone, OrthogonalHead(backbone.features, num_classes, self.scale))

    def perturb(self, model: OrthogonalClassifier, batch: Batch, ascend: Ascend) -> Tensor:
        return ascend(model.embed, squared_distance, batch.x, (model.head.weight[batch.y],))

    def _distance(self, model: OrthogonalClassifier, x: Tensor, y: Tensor) -> Tensor:
        """S per example, (B,)."""
        return prototype_alignment(model.embed(x), model.head.weight, y, self.reduction)

    def loss(self, model: OrthogonalClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        clean, adversarial = (self._distance(model, x, batch.y).mean() for x in (batch.x, x_adv))
        return {
            "squared_clean": self.leverage * clean,
            "squared_adversarial": (1 - self.leverage) * adversarial,
        }

    def objective(self, model: OrthogonalClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The term that depends on x', per example, (B,)."""
        return (1 - self.leverage) * self._distance(model, x_adv, y)
