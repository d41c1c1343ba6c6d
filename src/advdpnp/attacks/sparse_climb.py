"""Auto-PGD in l1: steps along few pixels, within the ball cut with the box (Croce and Hein 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from advdpnp.attacks.climb import Climb, per_image
from advdpnp.attacks.l1_ball import into_l1_ball
from advdpnp.attacks.search import Answer
from advdpnp.noise import Noise


@dataclass
class SparseClimb(Climb):
    """A row in l1.

    Args:
        density: (B,), share of the pixels that a step changes.
        support: (B,), pixels that the best point had changed at the last check.
    """

    density: Tensor
    support: Tensor


@dataclass(frozen=True)
class SparseClimber:
    """Steps along the largest entries of the gradient, as many as the best point suggests (2021, Algorithm 1).

    Args:
        phases: (radius, steps) one after the other, each from the best point of the one before it.
    """

    phases: tuple[tuple[float, int], ...]

    @property
    def length(self) -> int:
        return sum(steps + 1 for _, steps in self.phases)

    def begin(self, x: Tensor, y: Tensor, target: Tensor, noise: Noise, stream: str) -> SparseClimb:
        point = self._start(x, noise, stream)
        zeros = x.new_zeros(len(x))
        return SparseClimb(
            x=x,
            y=y,
            target=target,
            point=point,
            age=torch.zeros_like(y),
            best_point=point.clone(),
            best_gradient=torch.zeros_like(x),
            best_loss=zeros,
            step_size=zeros.clone(),
            density=torch.full_like(zeros, 0.2),
            support=torch.full_like(zeros, x[0].numel()),
        )

    def move(self, state: SparseClimb, answer: Answer) -> Tensor:
        phase, age = self._place(state.age)
        radius = _choose(phase, [radius for radius, _ in self.phases])
        fresh = age == 0
        state.remember(answer, fresh)
        state.step_size = torch.where(fresh, radius, state.step_size)
        back = per_image(self._check(state, phase, age, radius))
        ahead = self._step(
            state,
            torch.where(back, state.best_point, state.point),
            torch.where(back, state.best_gradient, answer.gradient),
        )
        last = per_image(age == _choose(phase, [steps for _, steps in self.phases]))
        following = [radius for radius, _ in (*self.phases[1:], self.phases[-1])]
        radius = torch.where(last.view(-1), _choose(phase, following), radius)
        moved = torch.where(last, state.best_point, ahead)
        delta = moved - state.x
        # These two sums round as the official code's: one pixel more that is exactly x, and the density is another.
        return torch.where(last, moved, state.x + delta) + into_l1_ball(delta, state.x, radius)

    def _place(self, age: Tensor) -> tuple[Tensor, Tensor]:
        """The phase of each row, and how old it is in it: (B,) -> (B,), (B,), int64."""
        starts = [0, *accumulate(steps + 1 for _, steps in self.phases)][:-1]
        phase = torch.zeros_like(age)
        for start in starts[1:]:
            phase = phase + (age >= start)
        return phase, age - _choose(phase, starts)

    def _check(self, state: SparseClimb, phase: Tensor, age: Tensor, radius: Tensor) -> Tensor:
        """Set density and step size of the rows that are due: (B,) bool, which ones go back to the best point.

        A best point with fewer changed pixels than before means large steps again, else they get smaller.
        """
        period = _choose(phase, [max(int(0.04 * steps), 1) for _, steps in self.phases])
        least = _choose(phase, [radius / 10 for radius, _ in self.phases])
        fresh = age == 0
        due = ~fresh & (age % period == 0)
        support = (state.best_point != state.x).flatten(1).sum(dim=1).to(state.support.dtype)
        sparser = due & (support / state.support < 0.95)
        step_size = torch.minimum(torch.maximum(state.step_size / 1.5, least), radius)
        state.step_size = torch.where(sparser, radius, torch.where(due, step_size, state.step_size))
        # A start of noise says nothing of the density; the best point of an earlier phase does.
        told = (due | fresh) if len(self.phases) > 1 else due
        state.density = torch.where(told, support / state.x[0].numel() / 1.5, state.density)
        state.support = torch.where(told, support, state.support)
        return sparser

    def _step(self, state: SparseClimb, point: Tensor, gradient: Tensor) -> Tensor:
        pixels = gradient[0].numel()
        ordered = gradient.abs().flatten(1).sort(dim=1)[0]
        place = ((1.0 - state.density) * pixels).clamp(0, pixels - 1).long()
        least = per_image(ordered.gather(1, place[:, None]).squeeze(1))
        signs = gradient.sign() * (gradient.abs() >= least)
        count = per_image(signs.abs().flatten(1).sum(dim=1))
        return point + per_image(state.step_size) * signs / (count + 1e-10)

    def _start(self, x: Tensor, noise: Noise, stream: str) -> Tensor:
        shape, radius = tuple(x.shape[1:]), self.phases[0][0]
        draw = noise.normal(stream, shape)
        point = x + draw
        if len(self.phases) == 1:
            return (point + into_l1_ball(draw, x, radius)).clamp(0.0, 1.0)
        # Twice, since sums over noise are far larger than the radius, and so is their rounding.
        for _ in range(2):
            point = point + into_l1_ball(point - x, x, radius)
        # The official code draws a start for each phase, too, and leaves it; a shared generator has to move on.
        for _ in self.phases:
            noise.normal(stream, shape)
        return point.clamp(0.0, 1.0)


def _choose(phase: Tensor, values: Sequence[float]) -> Tensor:
    """values[phase]: (B,) int64 -> (B,); by comparisons, since a list would have to travel to the device."""
    # Whatever torch's default is: rows in float64 could not be put among others.
    kind = torch.int64 if isinstance(values[0], int) else torch.float32
    chosen = torch.full(phase.shape, values[0], dtype=kind, device=phase.device)
    for place, value in enumerate(values[1:], start=1):
        chosen = torch.where(phase == place, value, chosen)
    return chosen
