"""Heads: from embedding (B, D) to logits (B, C)."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from advdpnp.models.classifier import Backbone, Classifier, Head
from advdpnp.ranges import Count, Positive, check


def full_precision(embedding: Tensor) -> torch.autocast:
    """Context in which logits are fp32 although the backbone runs in low precision."""
    return torch.autocast("cuda" if embedding.is_cuda else "cpu", enabled=False)


class LinearHead(Head):
    """Linear classifier with bias.

    Args:
        features: embedding width D.
        num_classes: C, at least 2.
    """

    centers_are_places: ClassVar[bool] = False

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, num_classes)

    def forward(self, embedding: Tensor) -> Tensor:
        with full_precision(embedding):
            return functional.linear(embedding.to(self.linear.weight.dtype), self.linear.weight, self.linear.bias)

    def class_centers(self) -> Tensor:
        """(C, D): the rows of the weight, without the bias."""
        return self.linear.weight


class CosineHead(Head):
    """Logits s cos(theta_k), theta_k the angle between embedding and class row (Pang et al. 2020, Eq. 7): no bias.

    The normalization of the embedding is differentiated, that of the rows is not, as in the authors' code, which sets
    the rows to length 1 outside autograd in every forward. Here `renormalize` does, and the forward writes nothing.

    Args:
        features: embedding width D.
        num_classes: C, at least 2.
        scale: s > 0.
    """

    def __init__(self, features: int, num_classes: int, scale: float) -> None:
        super().__init__()
        check("scale", scale, Positive)
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_classes, features))
        # nn.Linear's initialization; only the directions matter.
        bound = 1 / math.sqrt(features)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, embedding: Tensor) -> Tensor:
        with full_precision(embedding):
            return self.scale * self.among_centers(embedding) @ self.class_centers().T

    def among_centers(self, embedding: Tensor) -> Tensor:
        """The embedding (B, D) at length 1; a zero vector stays zero."""
        return functional.normalize(embedding.to(self.weight.dtype), dim=1)

    @torch.no_grad()
    def renormalize(self) -> None:
        """Put every row back to length 1, so that a step changes its direction by as much whatever its length was."""
        self.weight.div_(self.weight.norm(dim=1, keepdim=True))

    def class_centers(self) -> Tensor:
        """(C, D): the class rows at length 1; a zero row stays zero."""
        length: Tensor = torch.linalg.vector_norm(self.weight.detach(), dim=1, keepdim=True)
        return self.weight / length.clamp_min(1e-12)


def hadamard(order: int) -> Tensor:
    """Sylvester's matrix of ones and minus ones with orthogonal rows: H_1 = [1], H_2n = [[H_n, H_n], [-H_n, H_n]].

    Args:
        order: a power of two.
    Returns:
        (order, order) float32.
    """
    matrix = torch.ones(1, 1)
    while len(matrix) < order:
        matrix = torch.cat([torch.cat([matrix, matrix], dim=1), torch.cat([-matrix, matrix], dim=1)])
    return matrix


class OrthogonalHead(Head):
    """Logits w_k . f with fixed rows w_k, orthogonal and dense, all entries +-s / sqrt(D) (Xu et al. 2021): no bias.

    Nothing in it learns: the rows are a buffer. An embedding that is its own row has the logit s^2 there and 0
    elsewhere.

    Args:
        features: embedding width D, a power of two.
        num_classes: C, from 2 to D.
        scale: length s of the rows, > 0.
    Raises:
        ValueError: there is no such matrix of this width.
    """

    saturates: ClassVar[bool] = True
    weight: Tensor

    def __init__(self, features: int, num_classes: int, scale: float) -> None:
        super().__init__()
        check("scale", scale, Positive)
        if features < num_classes or features & (features - 1):
            raise ValueError(_no_orthogonal_rows(features, num_classes))
        rows = hadamard(features)[:num_classes] * (scale / math.sqrt(features))
        self.register_buffer("weight", rows)

    def forward(self, embedding: Tensor) -> Tensor:
        with full_precision(embedding):
            return embedding.to(self.weight.dtype) @ self.weight.T

    def class_centers(self) -> Tensor:
        """(C, D): the rows."""
        return self.weight


def _no_orthogonal_rows(features: int, num_classes: int) -> str:
    # The widest that loses nothing of the embedding's width, where that is wide enough.
    below = 1 << features.bit_length() - 1
    width = below if below >= num_classes else 1 << (num_classes - 1).bit_length()
    return (
        "orthogonal rows of equal entries need an embedding whose width is a power of two and at least the number of "
        f"classes, {num_classes}; got width {features}: defense.embedding=linear({width}) adds a layer that makes it so"
    )


class MultiHead(Head):
    """Several linear heads without bias on one embedding; the logits are the mean of theirs (DIO, Fang et al.).

    Args:
        features: embedding width D.
        num_classes: C, at least 2.
        heads: L, at least 1.
    Attributes:
        weight: (L, C, D), the rows of all heads.
    """

    centers_are_places: ClassVar[bool] = False

    def __init__(self, features: int, num_classes: int, heads: int) -> None:
        super().__init__()
        check("heads", heads, Count)
        self.weight = nn.Parameter(torch.empty(heads, num_classes, features))
        # Of each head nn.Linear's initialization.
        bound = 1 / math.sqrt(features)
        nn.init.uniform_(self.weight, -bound, bound)

    def all_logits(self, embedding: Tensor) -> Tensor:
        """(B, D) -> (B, L, C), the logits of every head."""
        with full_precision(embedding):
            return torch.einsum("bd,lcd->blc", embedding.to(self.weight.dtype), self.weight)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.all_logits(embedding).mean(dim=1)

    def class_centers(self) -> Tensor:
        """(C, D): the rows of head 0."""
        return self.weight[0]


class PrototypeHead(Head):
    """Unified prototypes: one vector per class is both classifier weight and class prototype (Adv-DPNP, Eq. 1).

    Logits are z_j = c_j . f / alpha, without bias. With ||c_j|| = alpha they are the projections of the
    embedding on the unit prototypes, so alpha is no temperature.

    Args:
        features: embedding width D.
        num_classes: C, at least 2.
        alpha: radius of the sphere that `renormalize` puts the prototypes on, > 0.
    """

    def __init__(self, features: int, num_classes: int, alpha: float) -> None:
        super().__init__()
        check("alpha", alpha, Positive)
        self.alpha = alpha
        self.prototypes = nn.Parameter(torch.empty(num_classes, features))
        # nn.Linear's initialization; the first renormalization puts the rows on the sphere.
        bound = 1 / math.sqrt(features)
        nn.init.uniform_(self.prototypes, -bound, bound)

    def _logits(self, embedding: Tensor, prototypes: Tensor) -> Tensor:
        with full_precision(embedding):
            return embedding.to(prototypes.dtype) @ prototypes.T / self.alpha

    def forward(self, embedding: Tensor) -> Tensor:
        return self._logits(embedding, self.prototypes)

    def with_fixed_prototypes(self, embedding: Tensor) -> Tensor:
        """The same logits, with detached prototypes, as in Adv-DPNP's adversarial branch."""
        return self._logits(embedding, self.prototypes.detach())

    @torch.no_grad()
    def renormalize(self) -> None:
        """Put every prototype back on the sphere of radius alpha (Algorithm 1, lines 3-5)."""
        self.prototypes.mul_(self.alpha / self.prototypes.norm(dim=1, keepdim=True))

    def class_centers(self) -> Tensor:
        """(C, D): the prototypes."""
        return self.prototypes


class PrototypeClassifier(Classifier):
    """A classifier whose head is a set of unified prototypes."""

    head: PrototypeHead

    def __init__(self, backbone: Backbone, head: PrototypeHead) -> None:
        super().__init__(backbone, head)
