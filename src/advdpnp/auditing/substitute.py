"""A small network that imitates the audited one, from its answers alone: what breaks it may break the other, too."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from advdpnp.auditing.subject import Subject

_STEPS, _BATCH, _RATE, _WIDTH = 200, 64, 3e-3, 16


def imitation(subject: Subject) -> nn.Module:
    """A network of two convolutions, trained on the images, with noise, and the labels that the audited one gives them.

    Args:
        subject: the audited network and its images.
    Returns:
        The network in eval mode: x (B, channels, H, W) -> logits (B, C).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(subject.seed)
        network = _network(subject.x.shape[1], tuple(subject.x.shape[2:]), subject.classes).to(subject.x.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    with torch.enable_grad():
        for step in range(_STEPS):
            x, y = _batch(subject, step)
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval().requires_grad_(False)


def _network(channels: int, size: tuple[int, ...], classes: int) -> nn.Module:
    height, width = ((side + 3) // 4 for side in size)
    return nn.Sequential(
        nn.Conv2d(channels, _WIDTH, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * _WIDTH * height * width, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


def _batch(subject: Subject, step: int) -> tuple[Tensor, Tensor]:
    """Some images at random points of their balls, and what the audited network says of them."""
    rows = torch.arange(step * _BATCH, (step + 1) * _BATCH, device=subject.x.device) % subject.n
    noise = subject.noise(rows, 1000 + step)
    x = subject.ball.start(subject.x[rows], noise, "imitation")
    return x, subject.logits(x).argmax(dim=1)
