"""Attack a network that advdpnp did not build: here a small one that plain PyTorch trains on scikit-learn's digits.

What yours must offer: images in [0, 1] in, logits out, normalization (if any) inside, eval mode.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from advdpnp.attacks import suite
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
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
    pixels = torch.from_numpy(digits.images).to(torch.uint8)[:, None]
    labels = torch.from_numpy(digits.target).long()
    test = Images(pixels[-TEST_IMAGES:], labels[-TEST_IMAGES:], GRAY_LEVELS)

    model = YourModel()
    train(model, pixels[:-TEST_IMAGES].float() / GRAY_LEVELS, labels[:-TEST_IMAGES])

    facts = {"data": "scikit-learn digits", "checkpoint": "in memory"}
    wanted = Evaluation(suite=suite("quick", eps=0.1), n=TEST_IMAGES, facts=facts)
    print(result_text(evaluate(model.eval(), test, wanted, Lines())))


if __name__ == "__main__":
    main()
