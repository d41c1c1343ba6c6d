"""FSR (Kim et al. 2023, "Feature Separation and Recalibration for Adversarial Robustness")."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import cross_entropy, is_label
from advdpnp.models.classifier import Backbone, Classifier, Head
from advdpnp.models.heads import LinearHead
from advdpnp.models.recalibration import Parts, RecalibratedBackbone
from advdpnp.ranges import NonNegative, Positive

LabelLoss = Callable[[Tensor], Tensor]


class RecalibratedClassifier(Classifier):
    """A classifier on a backbone with separation and recalibration."""

    backbone: RecalibratedBackbone

    def __init__(self, backbone: RecalibratedBackbone, head: Head) -> None:
        super().__init__(backbone, head)


def randomly_separated(backbone: RecalibratedBackbone, batch: Batch, x: Tensor) -> Parts:
    """The parts of the images' feature maps under a random mask, drawn anew for each image and epoch.

    Args:
        backbone: with the modules.
        batch: whose draws and image indices are used.
        x: (B, channels, H, W), clean or adversarial images of the batch.
    """
    raw_map = backbone.backbone.feature_map(x)
    uniforms = batch.draw("fsr/mask", (2, *raw_map.shape[1:]), per_image=True)
    return backbone.separate(raw_map, uniforms)


def likeliest_wrong_class(logits: Tensor, y: Tensor) -> Tensor:
    """The predicted class where it is wrong, else the second likeliest: (B, C), (B,) -> (B,) int64, no gradient."""
    own = is_label(y, logits.shape[1])
    return logits.detach().masked_fill(own, -torch.inf).argmax(dim=1)


def auxiliary_losses(
    backbone: RecalibratedBackbone, parts: Parts, logits: Tensor, y: Tensor, label_loss: LabelLoss
) -> tuple[Tensor, Tensor]:
    """The losses that train the modules, without their weights.

    Args:
        backbone: whose auxiliary head reads the parts.
        parts: of the feature map of some images.
        logits: of these images, (B, C); they name the wrong class.
        y: (B,) int64.
        label_loss: cross-entropy with y, (B, C) -> (B,), such as `Batch.cross_entropy`.
    Returns:
        Separation, CE(h(r), y) + CE(h(n), y'), and recalibration, CE(h(n~), y): each (B,) >= 0, nats.
    """
    wrong = likeliest_wrong_class(logits, y)
    separation = label_loss(backbone.auxiliary_logits(parts.robust)) + cross_entropy(
        backbone.auxiliary_logits(parts.nonrobust), wrong
    )
    return separation, label_loss(backbone.auxiliary_logits(parts.recalibrated))


@dataclass(frozen=True)
class FSR(Defense[RecalibratedClassifier]):
    """CE(z, y) + lambda_sep [CE(h(r), y) + CE(h(n), y')] + lambda_rec CE(h(n~), y), all of x'.

    A learned mask splits the last feature map u into robust features r = m u and non-robust ones n = (1 - m) u, which
    are recalibrated to n~ = n + (1 - m) R(n). The logits z are a linear map of the pooled r + n~, and h is an auxiliary
    linear head. y' is the likeliest wrong class.

    Args:
        temperature: of the Gumbel softmax that makes the mask, > 0.
        lambda_sep: weight of the separation.
        lambda_rec: weight of the recalibration.
    Note:
        The mask is random in the loss alone. Every attack, that of training included, and every evaluation has it
        without noise, so that no randomness hides a gradient. Nothing is detached; y' is an index.
    """

    name: ClassVar[str] = "fsr"

    temperature: Positive = 0.1
    lambda_sep: NonNegative = 1.0
    lambda_rec: NonNegative = 1.0

    def build(self, backbone: Backbone, num_classes: int) -> RecalibratedClassifier:
        """The backbone with both modules and the auxiliary head in it, and a linear head."""
        head = LinearHead(backbone.features, num_classes)
        return RecalibratedClassifier(RecalibratedBackbone(backbone, num_classes, self.temperature), head)

    def loss(self, model: RecalibratedClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        parts = randomly_separated(model.backbone, batch, x_adv)
        logits = model.head(model.backbone.pool(parts.together))
        separation, recalibration = auxiliary_losses(model.backbone, parts, logits, batch.y, batch.cross_entropy)
        return {
            "ce_adversarial": batch.cross_entropy(logits).mean(),
            "separation": self.lambda_sep * separation.mean(),
            "recalibration": self.lambda_rec * recalibration.mean(),
        }

    def objective(self, model: RecalibratedClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """All three terms per example, under the mask without noise, (B,)."""
        parts = model.backbone.separate(model.backbone.backbone.feature_map(x_adv))
        logits = model.head(model.backbone.pool(parts.together))
        label_loss = partial(cross_entropy, y=y)
        separation, recalibration = auxiliary_losses(model.backbone, parts, logits, y, label_loss)
        return label_loss(logits) + self.lambda_sep * separation + self.lambda_rec * recalibration
