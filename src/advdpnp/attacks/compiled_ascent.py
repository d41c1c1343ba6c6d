"""The same ascent, with its iteration compiled, and on a GPU all its iterations captured as one graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from advdpnp.attacks.projected_ascent import AscentLoss, Budget, Forward, Tensors, check_rows, pgd_steps
from advdpnp.cuda_graphs import Capture, Slots
from advdpnp.noise import Noise

Iteration = Callable[[Tensor, Tensor, Tensors, Tensors], Tensor]


def make_iteration(forward: Forward, loss: AscentLoss, budget: Budget) -> Iteration:
    """One projected step as a function of tensors alone: (x_adv, x, reference, row) -> next x_adv."""

    def iteration(x_adv: Tensor, x: Tensor, reference: Tensors, row: Tensors) -> Tensor:
        def total(point: Tensor) -> Tensor:
            return loss(forward(point), reference, row).sum()

        gradient = torch.func.grad(total)(x_adv)
        return budget.threat.advance(x_adv, gradient, budget.step_size, x)

    return iteration


class _Captured:
    """All iterations of one ascent on static tensors."""

    def __init__(self, iteration: Iteration, steps: int, capture: Capture[Tensor]) -> None:
        self._iteration, self._steps, self._capture = iteration, steps, capture
        self._slots = Slots()
        self._replay: Callable[[], Tensor] | None = None

    def __call__(self, start: Tensor, x: Tensor, reference: Tensors, per_step: Tensors) -> Tensor:
        slots = self._slots.fill(start, x, *reference, *per_step)
        if self._replay is None:
            split = 2 + len(reference)

            def work() -> Tensor:
                x_adv = slots[0]
                for i in range(self._steps):
                    row = tuple(values[i] for values in slots[split:])
                    x_adv = self._iteration(x_adv, slots[1], slots[2:split], row)
                return x_adv

            self._replay = self._capture(work)
        # The graph's own output is overwritten by the next replay.
        return self._replay().clone()


class CompiledAscent:
    """`ascend`, compiled; one compilation, and one capture, for each (forward, loss, budget) at the static shape.

    Args:
        shape: the static shape of a batch; any other, such as the last of an epoch, goes through the eager loop.
        capture: how all iterations are captured, such as `cuda_graph`; None only compiles the iteration.
        compiler: makes an iteration fast; torch.compile by default.
    """

    def __init__(
        self, shape: tuple[int, ...], capture: Capture[Tensor] | None = None, compiler: Callable[..., Any] | None = None
    ) -> None:
        self._shape, self._capture = shape, capture
        self._compile = compiler or torch.compile(fullgraph=True, dynamic=False)
        self._ready: dict[tuple[Any, ...], Callable[..., Tensor]] = {}

    @property
    def made(self) -> int:
        """How many iterations have been compiled, or captured."""
        return len(self._ready)

    def __call__(
        self,
        forward: Forward,
        loss: AscentLoss,
        x: Tensor,
        reference: Tensors,
        per_step: Tensors = (),
        *,
        budget: Budget,
        noise: Noise,
        stream: str = "start",
    ) -> Tensor:
        start = budget.begin(x, noise, stream)
        if x.shape != self._shape:
            return pgd_steps(forward, loss, x, start, reference, per_step, budget)
        check_rows(per_step, budget.steps)
        key = (forward, loss, budget)
        if key not in self._ready:
            self._ready[key] = self._make(forward, loss, budget)
        with torch.no_grad():
            return self._ready[key](start, x, reference, per_step)

    def _make(self, forward: Forward, loss: AscentLoss, budget: Budget) -> Callable[..., Tensor]:
        iteration: Iteration = self._compile(make_iteration(forward, loss, budget))
        if self._capture is not None:
            return _Captured(iteration, budget.steps, self._capture)

        def run(x_adv: Tensor, x: Tensor, reference: Tensors, per_step: Tensors) -> Tensor:
            for i in range(budget.steps):
                x_adv = iteration(x_adv, x, reference, tuple(values[i] for values in per_step))
            return x_adv

        return run
