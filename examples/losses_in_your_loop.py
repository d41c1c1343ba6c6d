"""Adv-DPNP's losses in a training loop of your own: plain PyTorch, your network, your optimizer, no command line.

The two branches in one place: the clean one reads the prototypes themselves, the adversarial one reads detached ones,
so only clean images move a prototype (Adv-DPNP, Eq. 7).
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import advdpnp

EPS = 0.1
ALPHA = 20.0
EPOCHS = 12
TEST_IMAGES = 360


class YourNetwork(nn.Module):
    """Any network that ends in an embedding; the prototypes take the place of its last linear layer."""

    def __init__(self, features: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 4 * 4, features), nn.ReLU(),
        )  # fmt: skip
        self.head = advdpnp.PrototypeHead(features, classes, ALPHA)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(x))
        return logits


def loss(model: YourNetwork, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    """Eq. 7 with the weights of the paper: alignment 0.1, repulsion 0.1, consistency 2."""
    clean, adversarial = model.layers(x), model.layers(x_adv)
    prototypes = model.head.prototypes
    logits, logits_adv = model.head(clean), model.head.with_fixed_prototypes(adversarial)
    per_image = (
        advdpnp.cross_entropy(logits, y)
        + advdpnp.cross_entropy(logits_adv, y)
        + 0.05 * advdpnp.prototype_alignment(clean, prototypes, y, "mean")
        + 0.05 * advdpnp.prototype_alignment(adversarial, prototypes.detach(), y, "mean")
        + 2.0 * advdpnp.kl_divergence(logits, logits_adv)
    )
    return per_image.mean() / 2 + 0.1 * advdpnp.prototype_repulsion(prototypes)


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.from_numpy(digits.images).float()[:, None] / 16
    y = torch.from_numpy(digits.target).long()
    train_x, train_y, test_x, test_y = x[:-TEST_IMAGES], y[:-TEST_IMAGES], x[-TEST_IMAGES:], y[-TEST_IMAGES:]

    model = YourNetwork()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    attack = advdpnp.PGD(eps=EPS, steps=7)
    for epoch in range(EPOCHS):
        model.head.renormalize()
        total = 0.0
        for index in torch.randperm(len(train_y)).split(64):
            batch, labels = train_x[index], train_y[index]
            # Another step of the noise: another random start.
            noise = advdpnp.IndexNoise(0, index, step=epoch)
            x_adv = attack(model.eval(), batch, labels, noise=noise)
            value = loss(model.train(), batch, x_adv, labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item() * len(index)
        print(f"epoch {epoch + 1:>2}/{EPOCHS}  loss {total / len(train_y):.4f}")
    model.head.renormalize()

    model.eval()
    with torch.no_grad():
        clean = (model(test_x).argmax(1) == test_y).float().mean().item()
    x_adv = advdpnp.PGD(eps=EPS, steps=40)(model, test_x, test_y)
    robust = (model(x_adv).argmax(1) == test_y).float().mean().item()
    angle = advdpnp.min_separation_degrees(model.head.class_centers().detach())
    print(f"clean {clean:.1%}, PGD-40 at eps {EPS:g} {robust:.1%}, nearest prototypes {angle:.0f} degrees apart")


if __name__ == "__main__":
    main()
