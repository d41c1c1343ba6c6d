"""Small networks of strangers, for 8 x 8 digits."""

from typing import Any

import torch
from torch import Tensor, nn

from advdpnp import data
from advdpnp.data import Images


def digits() -> Images:
    return data.load("digits", "test")


class Plain(nn.Module):
    """Templates: the mean image of each class, correlated with x; right on most digits without training."""

    def __init__(self, classes: int = 10, hidden: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(64, classes)
        if hidden:
            self.extra = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Any:
        return self.linear(x.flatten(1))


def trained(model: Plain | None = None) -> Plain:
    """The nearest class mean as a linear network: z_c = m_c . x - |m_c|^2 / 2, times 10."""
    model = model or Plain()
    train = data.load("digits", "train")
    x, y = train.batch(torch.arange(len(train)))
    means = torch.stack([x[y == c].mean(dim=0).flatten() for c in range(10)])
    with torch.no_grad():
        model.linear.weight.copy_(10 * means)
        model.linear.bias.copy_(-5 * means.square().sum(dim=1))
    return model.eval()


class Wrapped(nn.Module):
    """A trained network with something done to its input and output."""

    def __init__(self, before: Any = None, after: Any = None) -> None:
        super().__init__()
        self.inner = trained()
        self.before, self.after = before or (lambda x: x), after or (lambda z: z)
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.after(self.inner(self.before(x)))
