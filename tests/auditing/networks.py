"""Networks with known faults, on images of four pixels whose robustness is known in closed form."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Class 1 where the mean of the four pixels is above 1/2; the margin in linf is |mean - 1/2|.
WEIGHTS = torch.tensor([[-1.0, -1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])


class Mean(nn.Module):
    """z = 8 (mean - 1/2) for class 1 and its negative for class 0, with something done before and after."""

    def __init__(self, before: Any = None, after: Any = None) -> None:
        super().__init__()
        self.before, self.after = before or (lambda x: x), after or (lambda z: z)
        self.linear = nn.Linear(4, 2)
        with torch.no_grad():
            self.linear.weight.copy_(2 * WEIGHTS)
            self.linear.bias.copy_(torch.tensor([4.0, -4.0]))
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.after(self.linear(self.before(x).flatten(1)))
        return logits


class Gradient(torch.autograd.Function):
    """The identity, with a backward of one's own."""

    @staticmethod
    def forward(context: Any, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        context.change = change
        return x.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return context.change(gradients[0]), None


def with_gradient(change: Callable[[Tensor], Tensor]) -> Mean:
    """The network with a gradient that is changed on the way."""
    return Mean(before=lambda x: Gradient.apply(x, change))  # type: ignore[no-untyped-call]


def images(n: int = 40, distance: float = 0.1) -> tuple[Tensor, Tensor]:
    """n images whose mean is `distance` to 1.1 times that from 1/2, above and below in turn; pixels differ."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    spread = 0.2 * torch.rand(n, 4, generator=generator) - 0.1
    away = distance * (1 + 0.1 * torch.rand(n, generator=generator)) * (2 * y - 1)
    x = 0.5 + away[:, None] + spread - spread.mean(dim=1, keepdim=True)
    return x.view(n, 1, 2, 2), y
