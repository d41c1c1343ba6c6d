"""Adversarial weight perturbation as Wu et al. 2020 do it: a proxy network climbs a step, the difference is scaled.

Slow: two further copies of the network for each gradient.
"""

import copy
from collections.abc import Callable

import torch
from torch import nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def gradients_at_perturbed_weights(
    model: nn.Module, loss: Callable[[nn.Module], torch.Tensor], gamma: float
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(perturbed weights, gradient of the loss there) by name; the model is left alone, its buffers included.

    Args:
        model: any network.
        loss: of a network with the model's parameters.
        gamma: length of each tensor's perturbation over the tensor's length.
    """
    proxy = copy.deepcopy(model)
    ascent = torch.optim.SGD([p for p in proxy.parameters() if p.requires_grad], lr=0.01)
    (-loss(proxy)).backward()
    ascent.step()
    perturbed = copy.deepcopy(model)
    owners = dict(perturbed.named_modules())
    moved = dict(proxy.named_parameters())
    with torch.no_grad():
        for name, weight in perturbed.named_parameters():
            path, _, leaf = name.rpartition(".")
            if leaf != "weight" or isinstance(owners[path], BATCH_NORMS) or not weight.requires_grad:
                continue
            difference = moved[name] - weight
            length = difference.flatten().norm()
            if length > 0:
                weight += gamma * weight.flatten().norm() / length * difference
    for parameter in perturbed.parameters():
        parameter.grad = None
    loss(perturbed).backward()
    weights = {name: p.detach().clone() for name, p in perturbed.named_parameters()}
    return weights, {name: p.grad for name, p in perturbed.named_parameters() if p.grad is not None}
