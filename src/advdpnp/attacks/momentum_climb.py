"""Auto-PGD in linf and l2: momentum, and a step size that is halved where the loss stalls (Croce and Hein 2020)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from advdpnp.attacks.climb import Climb, per_image
from advdpnp.attacks.search import Answer
from advdpnp.noise import Noise
from advdpnp.threat import Norm, ThreatModel


@dataclass
class MomentumClimb(Climb):
    """A row in linf or l2; a check is where the step size may be halved.

    Args:
        previous: (B, channels, H, W), where the last step began.
        loss: (B,), the last one; 0 before the first step.
        rises: (B,) int64, steps since the last check that raised the loss.
        wait, period: (B,) int64, steps to the next check, and from the last check to it.
        halved: (B,) bool, what the last check did; True before the first.
        checked_loss: (B,), the best one at the last check.
    """

    previous: Tensor
    loss: Tensor
    rises: Tensor
    wait: Tensor
    period: Tensor
    halved: Tensor
    checked_loss: Tensor


@dataclass(frozen=True)
class MomentumClimber:
    """Sign or normalized gradient steps with momentum, halved where the loss stalls (2020, Algorithm 1)."""

    norm: Norm
    eps: float
    steps: int
    rho: float

    @property
    def length(self) -> int:
        return self.steps + 1

    def begin(self, x: Tensor, y: Tensor, target: Tensor, noise: Noise, stream: str) -> MomentumClimb:
        point = self._start(x, noise, stream)
        zeros, period = x.new_zeros(len(x)), torch.full_like(y, self._share(0.22))
        return MomentumClimb(
            x=x,
            y=y,
            target=target,
            point=point,
            age=torch.zeros_like(y),
            best_point=point.clone(),
            best_gradient=torch.zeros_like(x),
            best_loss=zeros,
            step_size=torch.full_like(zeros, 2 * self.eps),
            previous=point.clone(),
            loss=zeros.clone(),
            rises=torch.zeros_like(y),
            wait=period,
            period=period.clone(),
            halved=torch.ones_like(y, dtype=torch.bool),
            checked_loss=zeros.clone(),
        )

    def move(self, state: MomentumClimb, answer: Answer) -> Tensor:
        fresh = state.age == 0
        state.remember(answer, fresh)
        # Not at the start: the official code compares the first step's loss with 0, and so does this.
        state.rises = state.rises + (~fresh & (answer.loss > state.loss))
        state.loss = torch.where(fresh, 0.0, answer.loss)
        state.wait = state.wait - (~fresh).long()
        state.checked_loss = torch.where(fresh, answer.loss, state.checked_loss)
        back = per_image(self._check(state))
        # Where the step is halved, the climb goes on from the best point.
        return self._step(
            state,
            torch.where(back, state.best_point, state.point),
            torch.where(back, state.best_gradient, answer.gradient),
        )

    def _check(self, state: MomentumClimb) -> Tensor:
        """Halve the step size of rows whose loss stalls or rises seldom, if they are due: (B,) bool, which ones."""
        due = state.wait == 0
        stalls = ~state.halved & (state.checked_loss >= state.best_loss)
        halve = due & (stalls | (state.rises <= state.period * self.rho))
        shorter = (state.period - self._share(0.03)).clamp_min(self._share(0.06))
        state.step_size = torch.where(halve, state.step_size / 2, state.step_size)
        state.halved = torch.where(due, halve, state.halved)
        state.checked_loss = torch.where(due, state.best_loss, state.checked_loss)
        state.rises = torch.where(due, 0, state.rises)
        state.period = torch.where(due, shorter, state.period)
        state.wait = torch.where(due, shorter, state.wait)
        return halve

    def _step(self, state: MomentumClimb, point: Tensor, gradient: Tensor) -> Tensor:
        direction = gradient.sign() if self.norm == "linf" else self._unit(gradient)
        ahead = self._project(point + per_image(state.step_size) * direction, state.x)
        new = torch.where(per_image(state.age) == 0, 1.0, 0.75).to(point.dtype)
        inertia = point - state.previous
        state.previous = point
        return self._project(point + (ahead - point) * new + inertia * (1 - new), state.x)

    def _share(self, share: float) -> int:
        """This share of the steps, at least one."""
        return max(int(share * self.steps), 1)

    def _start(self, x: Tensor, noise: Noise, stream: str) -> Tensor:
        shape = tuple(x.shape[1:])
        draw = 2 * noise.uniform(stream, shape) - 1 if self.norm == "linf" else noise.normal(stream, shape)
        return (x + self.eps * self._unit(draw)).clamp(0.0, 1.0)

    def _length(self, v: Tensor) -> Tensor:
        """(B, ...) -> (B, 1, 1, 1), in the climber's norm."""
        flat = v.flatten(1)
        return per_image(flat.abs().amax(dim=1) if self.norm == "linf" else flat.square().sum(dim=1).sqrt())

    def _unit(self, v: Tensor) -> Tensor:
        return v / (self._length(v) + 1e-12)

    def _project(self, point: Tensor, x: Tensor) -> Tensor:
        if self.norm == "linf":
            return ThreatModel(self.norm, self.eps).project(point, x)
        # As the official code rounds, which scales every perturbation, short ones too.
        delta = point - x
        return (x + self._unit(delta) * self._length(delta).clamp_max(self.eps)).clamp(0.0, 1.0)
