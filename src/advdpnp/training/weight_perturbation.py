"""Adversarial weight perturbation (Wu et al. 2020): the loss at the worst weights nearby."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def perturbed_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices and kernels that learn; biases, BatchNorm, prototypes and frozen helpers are not among them."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.dim() > 1 and name.endswith("weight")
    }


@contextmanager
def weights_perturbed(
    model: nn.Module,
    gamma: float,
    loss: Callable[[], Tensor],
    average: Callable[[Sequence[Tensor | None]], None] | None = None,
) -> Iterator[None]:
    """While it lasts each weight w is w + gamma ||w|| g / ||g||, g the gradient of the loss; then w again, bit for bit.

    What the loss writes to buffers on the way to g, such as BatchNorm's statistics, is undone, so that a step counts
    its images once.

    Args:
        model: the network that is trained, in train mode.
        gamma: length of the perturbation of a tensor over the tensor's own, in Euclidean norm; 0 perturbs nothing.
        loss: the training loss of this step, a scalar.
        average: makes gradients of a part of the batch those of the whole, in place; None for a whole batch.
    """
    if gamma == 0:
        yield
        return
    weights, buffers = list(perturbed_weights(model).values()), list(model.buffers())
    counted = [buffer.clone() for buffer in buffers]
    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    if average is not None:
        average(gradients)
    with torch.no_grad():
        for buffer, value in zip(buffers, counted, strict=True):
            buffer.copy_(value)
        before = [weight.clone() for weight in weights]
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight.add_(gradient * (gamma * weight.norm() / (gradient.norm() + 1e-20)))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)
