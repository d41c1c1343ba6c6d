"""What the climbs of Auto-PGD have in common: a row on its way up, and how it begins and moves."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from advdpnp.attacks.search import Answer, State
from advdpnp.noise import Noise


def per_image(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


@dataclass
class Climb(State):
    """A row on its way up, and the best point it came by.

    Args:
        best_point, best_gradient: (B, channels, H, W).
        best_loss, step_size: (B,).
    """

    best_point: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    step_size: Tensor

    def remember(self, answer: Answer, fresh: Tensor) -> None:
        """Keep the point if it is the best; where `fresh` (B,) it is the first."""
        better = fresh | (answer.loss > self.best_loss)
        self.best_loss = torch.where(better, answer.loss, self.best_loss)
        self.best_point = torch.where(per_image(better), self.point, self.best_point)
        self.best_gradient = torch.where(per_image(better), answer.gradient, self.best_gradient)


ClimbT = TypeVar("ClimbT", bound=Climb)


class Climber(Protocol[ClimbT]):
    """How rows begin and move in a norm."""

    @property
    def length(self) -> int: ...

    def begin(self, x: Tensor, y: Tensor, target: Tensor, noise: Noise, stream: str) -> ClimbT: ...

    def move(self, state: ClimbT, answer: Answer) -> Tensor:
        """Learn from the answer at the point, and say which point is next."""
