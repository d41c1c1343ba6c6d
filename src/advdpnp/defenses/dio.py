"""DIO (Fang et al., "Towards Robust Neural Networks via Orthogonal Diversity"): many heads, far from each other."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from advdpnp.attacks.projected_ascent import Ascend, Tensors
from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import at_least_fp32, cross_entropy, is_label
from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.heads import MultiHead
from advdpnp.ranges import Count, NonNegative

# Iterations for which heads are drawn: more than an attack of training has; it reads as many as it makes.
_ITERATIONS = 1000


class MultiHeadClassifier(Classifier):
    """A classifier with several linear heads, whose logits are the mean of theirs."""

    head: MultiHead

    def __init__(self, backbone: Backbone, head: MultiHead) -> None:
        super().__init__(backbone, head)

    def all_logits(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> (B, L, C), the logits of every head."""
        return self.head.all_logits(self.backbone(x))

    def other_answers(self, x: Tensor) -> dict[str, Tensor]:
        """The logits of head 0 alone, (B, C), for the record: the authors choose and report by single heads."""
        return {"head 0": self.all_logits(x)[:, 0]}


def one_head(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """Ascent loss: the cross-entropy of one head, the same for all images.

    Args:
        output: logits of all heads, (B, L, C).
        reference: (labels,).
        row: (index of the head,), int64 without dimensions.
    """
    # Not output[:, row[0]]: the host would wait for the device to read the index.
    head = row[0].expand(len(output), 1, output.shape[2])
    return cross_entropy(output.gather(1, head).squeeze(1), reference[0])


def mean_cross_entropy(logits: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean of the heads' cross-entropies: (B, L, C), (B,) -> (B,) >= 0, nats."""
    heads = logits.shape[1]
    return cross_entropy(logits.flatten(0, 1), y.repeat_interleave(heads), label_smoothing).view(-1, heads).mean(dim=1)


def orthogonality(weight: Tensor) -> Tensor:
    """sum_{i < j} <W_i, W_j>^2, the inner product that of whole heads as vectors: (L, C, D) -> scalar >= 0."""
    # In float64, which neither autocast nor TF32 rounds.
    rows = weight.flatten(1).double()
    return torch.triu(rows @ rows.T, diagonal=1).square().sum().to(weight.dtype)


def margin_shortfall(logits: Tensor, y: Tensor, weight: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """max(0, tau - min_{k != y} |z_y - z_k| / ||w_k||): by how much a head's margin falls short of tau.

    Args:
        logits: z of all heads, (B, L, C).
        y: (B,) int64.
        weight: (L, C, D); w_k is the row of the rival class, whose length has a gradient too.
        tau: the margin that is wanted.
    Returns:
        Shortfall, (B, L) in [0, tau]; and (B, L) bool, whether the head is right about the image.
    """
    logits = at_least_fp32(logits)
    own = is_label(y, logits.shape[2])[:, None]
    label = logits.gather(2, y[:, None, None].expand(-1, logits.shape[1], 1))
    lengths = torch.linalg.vector_norm(at_least_fp32(weight), dim=2)
    distance = ((label - logits).abs() / lengths).masked_fill(own, torch.inf).amin(dim=2)
    return (tau - distance).clamp_min(0.0), logits.argmax(dim=2) == y[:, None]


def mean_where(values: Tensor, counted: Tensor, batch: Batch | None = None) -> Tensor:
    """Mean over the images that count, 0 for a head that has none: (B, L), (B, L) bool -> (L,).

    With a batch that is a part, its addend to the mean of the whole, over its share of the images.
    """
    number, share = counted.sum(dim=0), 1.0
    if batch is not None:
        number, share = batch.total(number), batch.share
    return torch.where(counted, values, 0.0).sum(dim=0) / number.clamp_min(1) / share


@dataclass(frozen=True)
class DIO(Defense[MultiHeadClassifier]):
    """(1/L) sum_i CE(W_i f(x'), y) + alpha sum_{i<j} <W_i, W_j>^2 + beta sum_i M_i, with L linear heads W_i.

    M_i is the mean, over the images that head i has right, of max(0, tau - min_{k != y} |z_y - z_k| / ||w_k||), z the
    logits of that head and w_k its rows. The heads differ, and each keeps a margin.

    Args:
        heads: L, at least 1.
        alpha: weight of the orthogonality.
        beta: weight of the margins, which are summed over the heads.
        tau: the margin that is wanted.
    Note:
        Each iteration of the attack of training climbs the cross-entropy of one head, drawn anew. The network's logits,
        which every other attack sees, are the mean of the heads'.
    """

    name: ClassVar[str] = "dio"

    heads: Count = 10
    alpha: NonNegative = 0.1
    beta: NonNegative = 0.1
    tau: NonNegative = 0.2

    def build(self, backbone: Backbone, num_classes: int) -> MultiHeadClassifier:
        """The backbone with `heads` linear heads without bias."""
        return MultiHeadClassifier(backbone, MultiHead(backbone.features, num_classes, self.heads))

    def perturb(self, model: MultiHeadClassifier, batch: Batch, ascend: Ascend) -> Tensor:
        heads = (batch.draw("dio/head", (_ITERATIONS,)) * self.heads).long()
        return ascend(model.all_logits, one_head, batch.x, (batch.y,), (heads,))

    def loss(self, model: MultiHeadClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        logits, weight = model.all_logits(x_adv), model.head.weight
        shortfall, right = margin_shortfall(logits, batch.y, weight, self.tau)
        return {
            "ce_adversarial": mean_cross_entropy(logits, batch.y, batch.label_smoothing).mean(),
            "orthogonality": self.alpha * orthogonality(weight),
            "margin": self.beta * mean_where(shortfall, right, batch).sum(),
        }

    def objective(self, model: MultiHeadClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """What the loss of a batch of one image has that depends on x', (B,)."""
        logits = model.all_logits(x_adv)
        shortfall, right = margin_shortfall(logits, y, model.head.weight, self.tau)
        return mean_cross_entropy(logits, y) + self.beta * torch.where(right, shortfall, 0.0).sum(dim=1)
