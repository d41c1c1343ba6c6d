"""Networks that answer no numbers somewhere, or whose gradient is none."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Where = Callable[[Tensor], Tensor]


class _Poison(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, bad: Tensor) -> Tensor:
        ctx.save_for_backward(bad)
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (bad,) = ctx.saved_tensors
        return torch.where(bad[:, None], torch.nan, gradients[0]), None


class NoGradient(nn.Module):
    """A network whose input gradient is NaN, and whose logits are as ever, where where(x) (B,) bool is True."""

    def __init__(self, model: Callable[[Tensor], Tensor], where: Where) -> None:
        super().__init__()
        self.model, self.where = model, where
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = _Poison.apply(self.model(x), self.where(x.detach()))
        return logits


class Holes(nn.Module):
    """A network whose logits are `value` where where(x) (B,) bool is True."""

    def __init__(self, model: Callable[[Tensor], Tensor], where: Where, value: float = torch.nan) -> None:
        super().__init__()
        self.model, self.where, self.value = model, where, value
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.where(x.detach())[:, None], self.value, self.model(x))


def off_grid(x: Tensor) -> Tensor:
    """Whether an image has a pixel that is no multiple of 1/16: (B,) bool."""
    return ((x * 16).round() - x * 16).abs().flatten(1).amax(dim=1) > 1e-4
