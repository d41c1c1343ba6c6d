"""Scores of single images, from logits and embeddings: higher means more like the training data."""

import torch
from torch import Tensor, nn

from advdpnp.metrics.distances import angles_degrees, distances
from advdpnp.models.classifier import Classifier


def scores_of(logits: Tensor, embedding: Tensor | None = None, centers: Tensor | None = None) -> dict[str, Tensor]:
    """All scores of a batch, in float64.

    Max-softmax is that of Hendrycks and Gimpel (2017), as a logarithm, which keeps its order where the softmax rounds
    to 1; max-logit that of Hendrycks et al. (2022); energy that of Liu et al. (2020), with its sign turned and T = 1.

    Args:
        logits: (B, C).
        embedding: (B, D), as it is compared with the class centers; None where a network has none.
        centers: (C, D); None likewise.
    Returns:
        "distance" and "angle" (degrees; 90 for an embedding that is 0) to the nearest class center, both negated, where
        there are centers; "max-softmax", "max-logit" and "energy". Each (B,) float64.
    """
    z, found = logits.double(), dict[str, Tensor]()
    if embedding is not None and centers is not None:
        angles = angles_degrees(embedding[:, None], centers)
        found["distance"] = -distances(embedding[:, None], centers).amin(dim=1)
        found["angle"] = -torch.where(angles.isnan(), 90.0, angles).amin(dim=1)
    top, place = z.max(dim=1)
    # Without the largest one, whose share of the sum is 1: the difference of logarithms would round it away.
    others = (z - top[:, None]).scatter(1, place[:, None], -torch.inf).exp().sum(dim=1)
    return found | {"max-softmax": -torch.log1p(others), "max-logit": top, "energy": top + torch.log1p(others)}


class Scorer:
    """Scores images with a network.

    Args:
        model: in eval mode; one that is no `Classifier`, or has no class centers, has no distance and no angle.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._centers = model, None
        self.without_centers = "the network is not one of ours, and has no class centers that are known"
        if isinstance(model, Classifier):
            try:
                self._centers, self.without_centers = model.class_centers(), ""
            except TypeError as error:
                self.without_centers = str(error)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """(B, channels, H, W) -> scores, each (B,) float64, and the logits (B, C)."""
        # A copy, for networks that change their input.
        logits = self._model(x.clone())
        embedding = self._model.embed(x) if self._centers is not None and isinstance(self._model, Classifier) else None
        return scores_of(logits, embedding, self._centers), logits
