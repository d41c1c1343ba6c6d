"""IKL, improved Kullback-Leibler loss (Cui et al. 2023, "Decoupled Kullback-Leibler Divergence Loss")."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.attacks.projected_ascent import Ascend, Start, Tensors
from advdpnp.attacks.projected_ascent import kl_divergence as kl_ascent
from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import at_least_fp32
from advdpnp.models.classifier import Backbone, Classifier, Head
from advdpnp.models.heads import LinearHead
from advdpnp.ranges import NonNegative, Positive


def weighted_mse(clean: Tensor, adversarial: Tensor, weights: Tensor) -> Tensor:
    """1/4 sum_jk w_j w_k (D_j - D_k)^2, D = z(x) - z(x'): half the variance of D under w. Nothing is detached.

    Args:
        clean: logits of x, (B, C).
        adversarial: logits of x', (B, C).
        weights: w >= 0, each row with sum 1, (B, C).
    Returns:
        (B,) >= 0.
    """
    difference = at_least_fp32(clean) - at_least_fp32(adversarial)
    mean = (weights * difference).sum(dim=1, keepdim=True)
    return (weights * (difference - mean).square()).sum(dim=1) / 2


def soft_cross_entropy(clean: Tensor, adversarial: Tensor) -> Tensor:
    """-sum_k p_k(x) log p_k(x') with p(x) detached: (B, C), (B, C) -> (B,) >= 0, nats."""
    target = torch.softmax(at_least_fp32(clean).detach(), dim=1)
    return -(target * functional.log_softmax(at_least_fp32(adversarial), dim=1)).sum(dim=1)


def ikl_ascent(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """Ascent loss SCE + WMSE; reference = (clean logits, weights)."""
    clean, weights = reference
    return soft_cross_entropy(clean, output) + weighted_mse(clean, output, weights)


class ClassTableClassifier(Classifier):
    """A classifier with a table of its mean softmax outputs for each class, of which IKL makes its weights.

    Buffers:
        class_table: (C, C), row y the mean of softmax(z(x) / T) over the training images of class y in the epoch before
            this one; 1/C in the first epoch.
        class_sums: (C, C), the same sums so far in this epoch.
    """

    class_table: Tensor
    class_sums: Tensor

    def __init__(self, backbone: Backbone, head: Head, num_classes: int) -> None:
        super().__init__(backbone, head)
        self.register_buffer("class_table", torch.full((num_classes, num_classes), 1 / num_classes))
        self.register_buffer("class_sums", torch.zeros(num_classes, num_classes))

    def summed_buffers(self) -> list[Tensor]:
        return [self.class_sums]

    @torch.no_grad()
    def count(self, logits: Tensor, y: Tensor, temperature: float) -> None:
        """Add softmax(logits / temperature), (B, C), to the sums of the classes y, (B,)."""
        shares = torch.softmax(at_least_fp32(logits) / temperature, dim=1)
        own = y == torch.arange(len(self.class_sums), device=y.device)[:, None]
        # In float64, which neither autocast nor TF32 rounds; a product, since scattered additions have no fixed order.
        self.class_sums.add_(own.double() @ shares.double())

    @torch.no_grad()
    def roll(self) -> None:
        """Make the means of this epoch the table of the next; a class without images keeps its row."""
        # Each image adds 1 to the sum of its row.
        counts = self.class_sums.sum(dim=1, keepdim=True)
        self.class_table.copy_(torch.where(counts > 0, self.class_sums / counts, self.class_table))
        self.class_sums.zero_()


@dataclass(frozen=True)
class IKL(Defense[ClassTableClassifier]):
    """CE(z(x), y) + beta WMSE(z(x), z(x'), w_y) + alpha SCE(p(x), p(x')).

    KL(p(x) || p(x')) moves z(x) as the WMSE with w = p(x) does, and z(x') as the SCE does. IKL adds the two up, lets
    the WMSE move both, and takes its weights from the class instead of the image.

    Args:
        alpha: weight of the SCE, whose target is detached.
        beta: weight of the WMSE.
        temperature: T of the probabilities that make the class weights, > 0.
        inner_loss: x' is crafted on the "sce", whose ascent is that of the KL, or on "sce+wmse", as on CIFAR-100.
    Note:
        Adversarial images go through the network first, as in the authors' code.
    """

    name: ClassVar[str] = "ikl"
    start: ClassVar[Start] = "normal"

    alpha: NonNegative = 4.0
    beta: NonNegative = 20.0
    temperature: Positive = 4.0
    inner_loss: Literal["sce", "sce+wmse"] = "sce"

    def build(self, backbone: Backbone, num_classes: int) -> ClassTableClassifier:
        """The backbone with a linear head and a table of class weights."""
        return ClassTableClassifier(backbone, LinearHead(backbone.features, num_classes), num_classes)

    def between_epochs(self, model: ClassTableClassifier, epochs_done: int) -> None:
        """Update the class table from the past epoch; before the first one it stays uniform."""
        model.roll()

    def perturb(self, model: ClassTableClassifier, batch: Batch, ascend: Ascend) -> Tensor:
        with torch.no_grad():
            clean = model(batch.x)
        if self.inner_loss == "sce":
            return ascend(model, kl_ascent, batch.x, (clean,))
        return ascend(model, ikl_ascent, batch.x, (clean, model.class_table[batch.y]))

    def steadier(self) -> str:
        return f"defense.alpha below {self.alpha:g} or defense.beta below {self.beta:g}"

    def loss(self, model: ClassTableClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        adversarial, clean = model(x_adv), model(batch.x)
        model.count(clean, batch.y, self.temperature)
        return {
            "ce_clean": batch.cross_entropy(clean).mean(),
            "wmse": self.beta * weighted_mse(clean, adversarial, model.class_table[batch.y]).mean(),
            "sce": self.alpha * soft_cross_entropy(clean, adversarial).mean(),
        }

    def objective(self, model: ClassTableClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """beta WMSE + alpha SCE, the terms that depend on x', (B,)."""
        clean, adversarial = model(x), model(x_adv)
        pull = weighted_mse(clean, adversarial, model.class_table[y])
        return self.beta * pull + self.alpha * soft_cross_entropy(clean, adversarial)
