"""What is audited: a network, its images, and how it is called."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.losses import at_least_fp32, is_right
from advdpnp.noise import IndexNoise
from advdpnp.threat import Ball, ThreatModel

CHUNK = 100


def parts_of(rows: Tensor) -> tuple[Tensor, ...]:
    """(k, ...) in chunks; one that is empty where there are no rows."""
    return torch.split(rows, CHUNK)


Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and the images that it is audited on.

    Args:
        model: in eval mode, x (B, channels, H, W) in [0, 1] -> logits (B, C).
        x: (n, channels, H, W) in [0, 1].
        y: (n,) int64.
        norm: of the ball.
        eps: its radius.
        seed: of all random numbers.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    norm: Ball
    eps: float
    seed: int = 0

    @property
    def n(self) -> int:
        return len(self.x)

    @property
    def ball(self) -> ThreatModel:
        return ThreatModel(self.norm, self.eps)

    @cached_property
    def clean(self) -> Tensor:
        """Logits of the images: (n, C)."""
        return self.logits(self.x)

    @cached_property
    def right(self) -> Tensor:
        """(n,) bool."""
        return is_right(self.clean, self.y)

    @property
    def classes(self) -> int:
        return self.clean.shape[1]

    def noise(self, rows: Tensor | None = None, stream: int = 0) -> IndexNoise:
        """Random numbers of the images, or of some of them: (k,) int64."""
        index = torch.arange(self.n, device=self.x.device)
        return IndexNoise(self.seed + stream, index if rows is None else index[rows])

    @torch.no_grad()
    def logits(self, x: Tensor, model: nn.Module | None = None) -> Tensor:
        """(k, C), in chunks; the network gets a copy."""
        network = model or self.model
        return torch.cat([at_least_fp32(network(part.clone())) for part in parts_of(x)])

    def gradient(self, x: Tensor, y: Tensor, loss: Loss, model: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Loss (k,) and its input gradient, shaped like x; 0 where the network has none."""
        network, values, gradients = model or self.model, [], []
        for part, labels in zip(parts_of(x), parts_of(y), strict=True):
            probe = part.clone().requires_grad_()
            with torch.enable_grad():
                value = loss(network(probe), labels)
                found = torch.autograd.grad(value.sum(), probe, allow_unused=True)[0] if value.requires_grad else None
            values.append(value.detach())
            gradients.append(torch.zeros_like(part) if found is None else found.detach())
        return torch.cat(values), torch.cat(gradients)

    def attacked(self, attack: Attack, rows: Tensor, network: nn.Module | None = None, stream: int = 0) -> Tensor:
        """Images (k, channels, H, W) of an attack on these rows, (k,) int64, made on the network or on a stand-in."""
        found = []
        for part in parts_of(rows):
            x, y = self.x[part], self.y[part]
            monitored = MonitoredModel(network or self.model, len(x), x.device)
            found.append(attack(monitored, x, y, noise=self.noise(part, stream)))
        return torch.cat(found) if found else self.x[rows]

    def holds(self, x: Tensor, rows: Tensor) -> Tensor:
        """Which of these images the network itself classifies as the rows' labels: (k,) bool."""
        return is_right(self.logits(x), self.y[rows]) if len(rows) else rows.bool()
