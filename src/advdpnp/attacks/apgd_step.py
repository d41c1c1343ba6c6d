"""One step of Auto-PGD: in linf and l2 with momentum (Croce and Hein 2020), in l1 on sparse directions (2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from advdpnp.attacks.stepwise import AttackState, LossGradient
from advdpnp.noise import Noise
from advdpnp.threat import Norm, ThreatModel, into_l1_ball


def per_image(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


@dataclass
class APGDState(AttackState):
    """Rows of Auto-PGD, and the point of highest loss that each has visited.

    Args:
        best_point, best_gradient: (B, channels, H, W).
        best_loss, step_size: (B,).
    """

    best_point: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    step_size: Tensor

    @classmethod
    def start(cls, point: Tensor, x: Tensor, y: Tensor, target: Tensor, step_size: Tensor, **others: Tensor) -> Self:
        """Rows of age 0 at `point`, (B, channels, H, W), whose loss is not known yet; `others` are the subclass's."""
        return cls(
            x=x,
            y=y,
            target=target,
            point=point,
            age=torch.zeros_like(y),
            best_point=point.clone(),
            best_gradient=torch.zeros_like(x),
            best_loss=x.new_zeros(len(x)),
            step_size=step_size,
            **others,
        )

    def remember(self, answer: LossGradient, fresh: Tensor) -> None:
        """Keep the point if it is the best; where `fresh` (B,) it is the first."""
        better = fresh | (answer.loss > self.best_loss)
        self.best_loss = torch.where(better, answer.loss, self.best_loss)
        self.best_point = torch.where(per_image(better), self.point, self.best_point)
        self.best_gradient = torch.where(per_image(better), answer.gradient, self.best_gradient)


APGDStateT = TypeVar("APGDStateT", bound=APGDState)


class APGDStep(Protocol[APGDStateT]):
    """How rows start and move in a norm."""

    def init(self, x: Tensor, y: Tensor, target: Tensor, noise: Noise, stream: str) -> APGDStateT:
        """Rows at a random point of the ball; `stream` names the draw."""

    def begin(self, point: Tensor, x: Tensor, y: Tensor, target: Tensor) -> APGDStateT:
        """Rows of age 0 at `point`, (B, channels, H, W)."""

    def next_point(self, state: APGDStateT, answer: LossGradient) -> Tensor:
        """The point after `state.point`, of which `answer` is the loss and gradient; writes to all else of `state`."""


@dataclass
class MomentumState(APGDState):
    """Rows in linf or l2; at a check the step size may be halved.

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
class MomentumStep:
    """Sign or normalized gradient steps with momentum, halved where the loss stalls (2020, Algorithm 1).

    Args:
        norm: "linf" or "l2".
        eps: radius; (B, 1, 1, 1) for one of each row's own.
        steps: iterations.
        rho: share of the steps between two checks that have to raise the loss.
    """

    norm: Norm
    eps: float | Tensor
    steps: int
    rho: float

    def init(self, x: Tensor, y: Tensor, target: Tensor, noise: Noise, stream: str) -> MomentumState:
        return self.begin(self._start(x, noise, stream), x, y, target)

    def begin(self, point: Tensor, x: Tensor, y: Tensor, target: Tensor) -> MomentumState:
        """Rows of age 0 at `point`, (B, channels, H, W)."""
        zeros, period = x.new_zeros(len(x)), torch.full_like(y, self._share(0.22))
        radius = self.eps.view(-1) if isinstance(self.eps, Tensor) else self.eps
        return MomentumState.start(
            point,
            x,
            y,
            target,
            step_size=zeros + 2 * radius,
            previous=point.clone(),
            loss=zeros,
            rises=torch.zeros_like(y),
            wait=period,
            period=period.clone(),
            halved=torch.ones_like(y, dtype=torch.bool),
            checked_loss=zeros.clone(),
        )

    def next_point(self, state: MomentumState, answer: LossGradient) -> Tensor:
        fresh = state.age == 0
        state.remember(answer, fresh)
        # As in the official code, the loss after the first step is compared with 0, not with the loss at the start.
        state.rises = state.rises + (~fresh & (answer.loss > state.loss))
        state.loss = torch.where(fresh, 0.0, answer.loss)
        state.wait = state.wait - (~fresh).long()
        state.checked_loss = torch.where(fresh, answer.loss, state.checked_loss)
        back = per_image(self._check(state))
        # Where the step is halved, the row goes on from its best point.
        return self._step(
            state,
            torch.where(back, state.best_point, state.point),
            torch.where(back, state.best_gradient, answer.gradient),
        )

    def _check(self, state: MomentumState) -> Tensor:
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

    def _step(self, state: MomentumState, point: Tensor, gradient: Tensor) -> Tensor:
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
        """(B, ...) -> (B, 1, 1, 1), in the norm."""
        flat = v.flatten(1)
        return per_image(flat.abs().amax(dim=1) if self.norm == "linf" else flat.square().sum(dim=1).sqrt())

    def _unit(self, v: Tensor) -> Tensor:
        return v / (self._length(v) + 1e-12)

    @cached_property
    def _linf_ball(self) -> ThreatModel:
        return ThreatModel("linf", self.eps)

    def _project(self, point: Tensor, x: Tensor) -> Tensor:
        if self.norm == "linf":
            return self._linf_ball.project(point, x)
        # As the official code rounds, which scales every perturbation, short ones too.
        delta = point - x
        return (x + self._unit(delta) * self._length(delta).clamp_max(self.eps)).clamp(0.0, 1.0)


@dataclass
class SparseState(APGDState):
    """Rows in l1.

    Args:
        density: (B,), share of the pixels that a step changes.
        support: (B,), pixels that the best point had changed at the last check.
    """

    density: Tensor
    support: Tensor


@dataclass(frozen=True)
class SparseStep:
    """Steps along the largest entries of the gradient, as many as the best point suggests (2021, Algorithm 1).

    Args:
        phases: (radius, steps) one after the other, each from the best point of the one before it; a radius is a
            number, or (B,) for one of each row's own.
    """

    phases: tuple[tuple[float | Tensor, int], ...]

    def init(self, x: Tensor, y: Tensor, target: Tensor, noise: Noise, stream: str) -> SparseState:
        return self.begin(self._start(x, noise, stream), x, y, target)

    def begin(self, point: Tensor, x: Tensor, y: Tensor, target: Tensor) -> SparseState:
        """Rows of age 0 at `point`, (B, channels, H, W)."""
        zeros = x.new_zeros(len(x))
        return SparseState.start(
            point,
            x,
            y,
            target,
            step_size=zeros.clone(),
            density=torch.full_like(zeros, 0.2),
            support=torch.full_like(zeros, x[0].numel()),
        )

    def next_point(self, state: SparseState, answer: LossGradient) -> Tensor:
        phase, age = self._place(state.age)
        radius = _choose(phase, [radius for radius, _ in self.phases], state.x.dtype)
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
        radius = torch.where(last.view(-1), _choose(phase, following, radius.dtype), radius)
        moved = torch.where(last, state.best_point, ahead)
        delta = moved - state.x
        # Summed in the official code's order: how many pixels are exactly x decides the density.
        return torch.where(last, moved, state.x + delta) + into_l1_ball(delta, state.x, radius)

    def _place(self, age: Tensor) -> tuple[Tensor, Tensor]:
        """The phase of each row, and its iterations in that phase: (B,) -> (B,), (B,), int64."""
        starts = [0, *accumulate(steps + 1 for _, steps in self.phases)][:-1]
        phase = torch.zeros_like(age)
        for start in starts[1:]:
            phase = phase + (age >= start)
        return phase, age - _choose(phase, starts)

    def _check(self, state: SparseState, phase: Tensor, age: Tensor, radius: Tensor) -> Tensor:
        """Set density and step size of the rows that are due: (B,) bool, which ones go back to the best point.

        A best point with fewer changed pixels than before means large steps again, else they get smaller.
        """
        period = _choose(phase, [max(int(0.04 * steps), 1) for _, steps in self.phases])
        least = _choose(phase, [radius / 10 for radius, _ in self.phases], radius.dtype)
        fresh = age == 0
        due = ~fresh & (age % period == 0)
        support = (state.best_point != state.x).flatten(1).sum(dim=1).to(state.support.dtype)
        sparser = due & (support / state.support < 0.95)
        step_size = torch.minimum(torch.maximum(state.step_size / 1.5, least), radius)
        state.step_size = torch.where(sparser, radius, torch.where(due, step_size, state.step_size))
        # The density of a random start is not used; that of the best point of an earlier phase is.
        informed = (due | fresh) if len(self.phases) > 1 else due
        state.density = torch.where(informed, support / state.x[0].numel() / 1.5, state.density)
        state.support = torch.where(informed, support, state.support)
        return sparser

    def _step(self, state: SparseState, point: Tensor, gradient: Tensor) -> Tensor:
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
        return point.clamp(0.0, 1.0)


def _choose(phase: Tensor, values: Sequence[float | Tensor], dtype: torch.dtype = torch.int64) -> Tensor:
    """values[phase]: (B,) int64 -> (B,); by comparisons, since a list would have to be copied to the device."""
    chosen = torch.zeros(phase.shape, dtype=dtype, device=phase.device) + values[0]
    for place, value in enumerate(values[1:], start=1):
        chosen = torch.where(phase == place, value, chosen)
    return chosen
