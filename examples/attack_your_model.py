"""Attack a network that advdpnp did not build: here a small one that plain PyTorch trains on scikit-learn's digits.

What yours must offer: images in [0, 1] in, logits out, normalization (if any) inside, eval mode.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import advdpnp
from advdpnp.progress import Lines, result_text

TEST_IMAGES = 200
GRAY_LEVELS = 16


class YourModel(nn.Module):
    """Any classifier; this one standardizes its input itself, so that attacks work on pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers((x - 0.3) / 0.4)
        return logits


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int = 20) -> None:
    """Ordinary training, with no defense at all."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(y)).split(64):
            loss = functional.cross_entropy(model(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.from_numpy(digits.images).float()[:, None] / GRAY_LEVELS
    y = torch.from_numpy(digits.target).long()

    model = YourModel()
    train(model, x[:-TEST_IMAGES], y[:-TEST_IMAGES])

    # Before the attacks, the network is tried on a few images: a missing normalization, a softmax at the end or
    # BatchNorm in training mode would be refused with the reason.
    result = advdpnp.evaluate(
        model.eval(), x[-TEST_IMAGES:], y[-TEST_IMAGES:], suite="quick", eps=0.1, callback=Lines()
    )
    print(result_text(result))


if __name__ == "__main__":
    main()
