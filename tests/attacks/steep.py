"""A small network with steep activations, of which standard AutoAttack leaves images standing that can be broken.

Its surface is steps of tanh(8 x), so that an ascent finds a way or not by where it starts. The weights in
tests/fixtures/steep-digits.safetensors are those of

    PYTHONPATH=src:tests python -m attacks.steep
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS = Path(__file__).parents[1] / "fixtures/steep-digits.safetensors"
EPS = 0.2


class Tanh8(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(8 * x)


def network() -> nn.Module:
    layers = nn.Flatten(), nn.Linear(64, 96), Tanh8(), nn.Linear(96, 64), Tanh8(), nn.Linear(64, 10)
    return nn.Sequential(*layers)


def steep() -> nn.Module:
    model = network()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


def train(epochs: int = 15, steps: int = 4, most: float = 0.15) -> nn.Module:
    """Adversarial training of 1,000 digits; the radius rises for half of it."""
    x, y = digits()
    x, y = x[:1000], y[:1000]
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for epoch in range(epochs):
        eps = most * min(1, (epoch + 1) / (0.5 * epochs))
        for rows in torch.randperm(len(x)).split(128):
            clean, labels = x[rows], y[rows]
            points = (clean + most * (2 * torch.rand_like(clean) - 1)).clamp(0, 1)
            for _ in range(steps):
                points.requires_grad_()
                (gradient,) = torch.autograd.grad(functional.cross_entropy(model(points), labels), points)
                ahead = points.detach() + 2.5 * eps / steps * gradient.sign()
                points = torch.min(torch.max(ahead, clean - eps), clean + eps).clamp(0, 1)
            optimizer.zero_grad()
            functional.cross_entropy(model(points), labels).backward()
            optimizer.step()
    return model


def digits() -> tuple[Tensor, Tensor]:
    """All of the digits in an order of their own: the first 1,000 are for training."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.randperm(len(found.images), generator=torch.Generator().manual_seed(0))
    return torch.tensor(found.images / 16, dtype=torch.float32)[order, None], torch.tensor(found.target)[order]


def copies(count: int, number: int = 1097) -> tuple[Tensor, Tensor]:
    """One image so many times: random numbers go with positions, so each copy is attacked from other starts."""
    x, y = digits()
    return x[number].repeat(count, 1, 1, 1), y[number].repeat(count)


if __name__ == "__main__":
    save_file(train().state_dict(), WEIGHTS)
