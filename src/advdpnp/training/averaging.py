"""Averages of the weights of a run: exponential (EMA) or equal (SWA, Izmailov et al. 2018)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from advdpnp.defenses.base import Defense
from advdpnp.models.classifier import Classifier
from advdpnp.models.copying import copied
from advdpnp.runs import Json
from advdpnp.training.optimizer import first_epoch
from advdpnp.training.recipe import Averaging

# Images from which BatchNorm's statistics are measured, in forward passes alone: with 2,560 of them the variances of a
# ResNet-18 are 0.5 % off those of 10,000, and its clean cross-entropy 0.2 %.
STATISTICS_IMAGES = 10_000


def frozen_tensors(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers of the modules in which nothing learns, such as a helper network."""
    found: list[Tensor] = []
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            found += [*parameters, *module.buffers()]
    return found


def batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The BatchNorm layers whose statistics move while the network trains, by path."""
    frozen = {id(tensor) for tensor in frozen_tensors(model)}
    return {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and id(module.running_mean) not in frozen
    }


def averaged_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What is averaged: the parameters that learn."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def measure_statistics(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Set BatchNorm's statistics to their mean over batches: those of averaged weights are no average of statistics.

    An average of statistics keeps a share of the variance 1 that they begin with, and layers have variances of 0.02.

    Args:
        network: changed in place, and left in train mode. One without BatchNorm sees no image.
        images: batches (B, channels, H, W).
    """
    layers = list(batch_norms(network).values())
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    network.train()
    for x in images:
        network(x)
    for layer, value in zip(layers, momenta, strict=True):
        layer.momentum = value


class WeightAverage:
    """The average of a network's weights, kept beside the network while it trains.

    EMA: a <- decay a + (1 - decay) w after every step. SWA: the mean of the weights at the end of the epochs. In both
    BatchNorm's statistics are measured anew, with the averaged weights. Before it begins, the average is the network
    itself.

    Args:
        model: the network that is trained.
        defense: puts the average back where it wants its networks.
        averaging: kind, decay, start.
        epochs: of the whole run.
    """

    def __init__(self, model: Classifier, defense: Defense[Any], averaging: Averaging, epochs: int) -> None:
        self._model, self._defense, self._averaging = model, defense, averaging
        self._first = first_epoch(averaging.start, epochs)
        self._sources = averaged_tensors(model)
        self._values: dict[str, Tensor] = {}
        self._count = 0

    def after_step(self, epoch: int) -> None:
        """Take in the weights after a step of an epoch (counted from 0)."""
        if self._averaging.kind == "ema" and epoch >= self._first:
            self._take_in(1 - self._averaging.decay)

    def after_epoch(self, epoch: int) -> None:
        """Take in the weights after an epoch (counted from 0)."""
        if self._averaging.kind == "swa" and epoch >= self._first:
            self._take_in(1 / (self._count + 1))

    @torch.no_grad()
    def _take_in(self, share: float) -> None:
        if not self._values:
            self._values = {name: source.detach().clone() for name, source in self._sources.items()}
        else:
            torch._foreach_lerp_(list(self._values.values()), list(self._sources.values()), share)
        self._count += 1

    @torch.no_grad()
    def network(self, images: Callable[[], Iterable[Tensor]]) -> Classifier:
        """The network with averaged weights, in eval mode: what is validated, stored and evaluated.

        Args:
            images: gives training batches (B, channels, H, W), for BatchNorm's statistics.
        """
        if not self._values:
            return self._model
        # Helpers are shared: they never change.
        average = copied(self._model, frozen_tensors(self._model))
        targets = averaged_tensors(average)
        for name, value in self._values.items():
            targets[name].copy_(value)
        self._defense.after_averaging(average)
        measure_statistics(average, images())
        return average.eval()

    @property
    def names(self) -> tuple[str, ...]:
        """What is averaged; none where nothing is."""
        return () if self._averaging.kind == "none" else tuple(self._sources)

    def state(self) -> Json:
        """For a checkpoint."""
        return {"count": self._count, "values": self._values}

    def restore(self, state: Json) -> None:
        """Continue from what `state` returned."""
        self._count = state["count"]
        # Earlier versions averaged BatchNorm's statistics too; nothing needs them.
        stored = {name: value for name, value in state["values"].items() if name in self._sources}
        # Copies: what is averaged in place must lie in memory of its own.
        self._values = {name: value.to(self._sources[name].device, copy=True) for name, value in stored.items()}
