"""Networks whose nearest adversarial images are known."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advdpnp.noise import Noise

# A search that takes a few hundredths of the time of the usual one, and finds what is a little farther.
QUICK = "min-eps:steps=4,boundary_steps=6,bisections=3,targets=1,eps=0.4"


class Affine(nn.Module):
    """Logits W x + b of images with values near 1/2, so that the box [0, 1] is far away."""

    def __init__(self, classes: int, pixels: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(classes, pixels, generator=generator))
        self.bias = nn.Parameter(torch.randn(classes, generator=generator) / 10 - self.weight.detach().sum(1) / 2)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias

    def distances(self, x: Tensor, y: Tensor, dual: float) -> Tensor:
        """|w x + b| / ||w||_dual to the nearest boundary of each image with another class, in float64."""
        w, b, flat = self.weight.detach().double(), self.bias.detach().double(), x.double().flatten(1)
        logits = flat @ w.T + b
        found = torch.full((len(x),), torch.inf, dtype=torch.float64)
        for row in range(len(x)):
            for other in range(len(w)):
                if other != y[row]:
                    length = torch.linalg.vector_norm(w[y[row]] - w[other], ord=dual)
                    found[row] = min(found[row], (logits[row, y[row]] - logits[row, other]).abs() / length)
        return found


class Needle(nn.Module):
    """Says class 1 where the first pixel is within 0.1/255 of 128.3/255 alone, which no byte is."""

    def forward(self, x: Tensor) -> Tensor:
        z = 1 - ((255 * x.flatten(1)[:, 0] - 128.3) / 0.1) ** 2
        return torch.stack([torch.zeros_like(z), z], dim=1)


@dataclass(frozen=True)
class Shift:
    """Adds eps to every pixel."""

    name = "shift"
    norm = "linf"
    steps = 1
    step_size = None
    restarts = 1
    random_start = False
    eps: float = 0.3 / 255

    def __call__(self, logits_fn: object, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        return (x + self.eps).clamp(0, 1)
