"""The one projected-ascent loop that every gradient attack and every inner maximization runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from advdpnp import losses
from advdpnp.noise import Noise
from advdpnp.ranges import Count, NonNegative, check_fields
from advdpnp.threat import ThreatModel

Forward = Callable[[Tensor], Tensor]
Tensors = tuple[Tensor, ...]
AscentLoss = Callable[[Tensor, Tensors, Tensors], Tensor]
Start = Literal["none", "uniform", "normal"]


@dataclass(frozen=True)
class Budget:
    """The threat model, steps and start of one projected ascent.

    Args:
        threat: the ball.
        steps: gradient steps, at least 1.
        step_size: length of a step, in the units of `threat.eps`.
        start: "none" (from the image), "uniform" (a random point of the ball) or "normal" (0.001 N(0, 1), as TRADES;
            not projected before the first step).
    """

    threat: ThreatModel
    steps: Count
    step_size: NonNegative | Tensor
    start: Start

    def __post_init__(self) -> None:
        check_fields(self)

    def begin(self, x: Tensor, noise: Noise, stream: str = "start") -> Tensor:
        """The first iterate: (B, channels, H, W), fp32."""
        if self.start == "none":
            return x.clone()
        if self.start == "uniform":
            return self.threat.start(x, noise, stream)
        return x + 0.001 * noise.normal(stream, tuple(x.shape[1:]))


class Ascend(Protocol):
    """`ascend` with budget and noise bound: what a defense calls to craft its training examples."""

    def __call__(
        self, forward: Forward, loss: AscentLoss, x: Tensor, reference: Tensors, per_step: Tensors = ()
    ) -> Tensor: ...


def cross_entropy(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """Ascent loss of FGSM and PGD (Madry et al. 2018); reference = (labels,)."""
    return losses.cross_entropy(output, reference[0])


def likelihood(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """Ascent loss of targeted FGSM and PGD, log softmax(z)_t; reference = (target classes,)."""
    return -losses.cross_entropy(output, reference[0])


def kl_divergence(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """Ascent loss of TRADES, KL(p(x) || p(x')); reference = (clean logits,)."""
    return losses.kl_divergence(reference[0], output)


def check_rows(per_step: Tensors, steps: int) -> None:
    """Raise ValueError unless there is a row for each iteration."""
    rows = min((len(values) for values in per_step), default=steps)
    if rows < steps:
        raise ValueError(f"an attack of {steps} steps needs as many rows per step; got {rows}: set fewer steps")


def pgd_steps(
    forward: Forward,
    loss: AscentLoss,
    x: Tensor,
    start: Tensor,
    reference: Tensors,
    per_step: Tensors,
    budget: Budget,
) -> Tensor:
    """`budget.steps` projected steepest-ascent steps from `start`.

    Args and Returns as `ascend`; `start` is the first iterate, shaped like x.
    """
    check_rows(per_step, budget.steps)
    x_adv = start
    for i in range(budget.steps):
        x_adv = x_adv.detach().requires_grad_(True)
        row = tuple(values[i] for values in per_step) if per_step else ()
        with torch.enable_grad():
            # The sum, not the mean: the direction is the same and small gradients do not underflow.
            total = loss(forward(x_adv), reference, row).sum()
        (gradient,) = torch.autograd.grad(total, x_adv)
        x_adv = budget.threat.advance(x_adv.detach(), gradient, budget.step_size, x)
    return x_adv


def ascend(
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
    """Maximize `loss` over the ball around x by projected ascent. Pure: no randomness but `noise`, no host reads.

    Args:
        forward: any network output of x, such as logits; a module-level function or bound method.
        loss: (output, reference, row) -> (B,) per example; a module-level function or bound method.
        x: (B, channels, H, W) in [0, 1].
        reference: tensors fixed during the ascent, such as labels.
        per_step: tensors whose row i reaches iteration i; of rows beyond the last iteration nothing is read.
        budget: ball, steps, step size, start.
        noise: random numbers of these images.
        stream: name of the draw, so that restarts differ.
    Returns:
        (B, channels, H, W), in the ball and in [0, 1], detached.
    """
    return pgd_steps(forward, loss, x, budget.begin(x, noise, stream), reference, per_step, budget)
