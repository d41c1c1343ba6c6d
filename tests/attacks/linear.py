"""Linear classifiers, on which the strongest attack is known in closed form."""

import torch
from torch import Tensor, nn


class LinearClassifier(nn.Module):
    """Logits (0, w . x + b) of two classes, or W x + b of several; float64."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


def two_classes(pixels: int, seed: int = 0) -> LinearClassifier:
    """Class 1 where w . x > w . (1/2): images around the middle of the box are undecided."""
    w = torch.randn(pixels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weight = torch.stack([torch.zeros_like(w), w])
    return LinearClassifier(weight, torch.tensor([0.0, -0.5 * w.sum()], dtype=torch.float64)).eval()
