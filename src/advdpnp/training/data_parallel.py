"""One step on several ranks: the gradient, the statistics and the decisions of all of them together."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from advdpnp.defenses.base import Batch
from advdpnp.models.classifier import Classifier
from advdpnp.training.averaging import batch_norms
from advdpnp.training.distributed import RankPart, World
from advdpnp.training.recipe import Recipe

Losses = Callable[[Batch, Tensor], dict[str, Tensor]]

# What ranks decide together after a step: to store the state; to end, since a signal or a callback wants it.
VOTES = 3
# Room for the votes and the loss terms of a step.
_CARRIED = 64


def check_ranks(recipe: Recipe, device: torch.device, world: World, smallest_batch: int) -> None:
    """Raise ValueError if several ranks cannot train by the recipe in batches of so many images or more."""
    if world.size == 1:
        return
    if recipe.engine == "step":
        raise ValueError(
            f"recipe.engine=step captures a step without what ranks exchange in it; got {world.size} ranks. Use "
            "engine=graph"
        )
    if recipe.sync_batchnorm and device.type != "cuda":
        raise ValueError(
            f"recipe.sync_batchnorm needs CUDA devices, as torch's SyncBatchNorm does; got {device.type}. Drop it"
        )
    if recipe.sync_batchnorm and recipe.attack.mode == "train":
        raise ValueError(
            "recipe.sync_batchnorm would exchange statistics in each iteration of recipe.attack.mode=train. Drop one"
        )
    # A rank that is left over repeats rows, which must not count in statistics of all.
    if recipe.sync_batchnorm and smallest_batch < 2 * world.size:
        raise ValueError(
            f"recipe.sync_batchnorm needs two images or more for each of {world.size} ranks in every batch; the "
            f"smallest has {smallest_batch}: change recipe.batch_size or recipe.train_images"
        )


class SharedLoss(nn.Module):
    """A rank's share of the loss of a whole batch, as the one forward that is wrapped.

    DDP averages gradients over ranks, so a mean over a part's rows counts by its rows times the number of ranks. Terms
    that do not depend on the batch come out whole: the shares of all ranks add up to 1.

    A parameter of zeros, whose gradient is chosen freely, carries loss terms and votes to all ranks with the gradient.
    """

    def __init__(self, losses: nn.Module, like: Tensor) -> None:
        super().__init__()
        self.losses = losses
        self.carried = nn.Parameter(torch.zeros(_CARRIED, dtype=like.dtype, device=like.device))
        self.names: list[str] = []

    def forward(self, losses: Losses, batch: Batch, x_adv: Tensor, weight: float, votes: Tensor) -> Tensor:
        """The weighted loss, a scalar.

        Args:
            losses: these losses, or a compiled version of them.
            batch: the part of this rank.
            x_adv: its adversarial images.
            weight: of a mean over the part's rows.
            votes: (V,) of this rank, 0 or 1.
        """
        terms = losses(batch, x_adv)
        self.names, values = list(terms), weight * torch.stack(list(terms.values()))
        numbers = torch.cat([votes.to(self.carried.dtype), values.detach().to(self.carried.dtype)])
        if len(numbers) > _CARRIED:
            raise ValueError(f"on several ranks a loss has at most {_CARRIED - VOTES} terms; got {len(terms)}")
        return values.sum() + (self.carried[: len(numbers)] * numbers).sum()


class RankGradients:
    """Differentiates the loss of a whole batch, of which this rank has a part.

    Args:
        world: the ranks.
        model: the network that is trained.
        losses: of the network, as a module.
    Attributes:
        votes: of this rank, for the next step.
        agreed: votes that any rank had, as far as they are known: of the last step, or on a GPU, where the host does
            not wait for it, of the one before.
    """

    def __init__(self, world: World, model: Classifier, losses: nn.Module) -> None:
        self._world, self._model = world, model
        self._shared = SharedLoss(losses, next(p for p in model.parameters() if p.requires_grad))
        self._wrapped: DistributedDataParallel | None = None
        self.votes: Sequence[bool] = [False] * VOTES
        self.agreed: list[bool] = [False] * VOTES
        self._coming: list[tuple[Tensor, torch.cuda.Event]] = []

    def part(self, batch: Batch, part: RankPart) -> Batch:
        """The batch of a part, which knows that it is one."""
        counts = part.share > 0

        def summed(values: Tensor) -> Tensor:
            return self._world.add_up(values.clone() if counts else torch.zeros_like(values))

        return replace(batch, share=part.share if counts else 1.0, summed=summed)

    def weight(self, part: RankPart) -> float:
        """What a mean over the part's rows is multiplied by, where gradients are averaged over ranks."""
        return part.share * self._world.size

    def average(self, gradients: Sequence[Tensor | None]) -> None:
        """Average gradients over ranks, in place: one collective."""
        given = [gradient for gradient in gradients if gradient is not None]
        for gradient, total in zip(given, self._summed(given), strict=True):
            torch.div(total, self._world.size, out=gradient)

    def _summed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of tensors over ranks, by one collective; contiguous."""
        flat = self._world.add_up(torch.cat([tensor.reshape(-1) for tensor in tensors]))
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def differentiate(self, losses: Losses, batch: Batch, x_adv: Tensor, part: RankPart) -> tuple[list[str], Tensor]:
        """Add the gradient of the whole batch's loss to the parameters: on every rank the same bits.

        Returns:
            Names of the loss terms, and their values for the whole batch, (T,), detached.
        """
        wrapped = self._wrapped or self._wrap(batch)
        added = [(buffer, buffer.clone()) for buffer in self._model.summed_buffers()]
        votes = torch.tensor(self.votes, device=x_adv.device)
        torch.autograd.backward(wrapped(losses, batch, x_adv, self.weight(part), votes))
        carried, self._shared.carried.grad = self._shared.carried.grad, None
        assert carried is not None
        self._average_statistics(added, part)
        self._learn(carried[:VOTES])
        return self._shared.names, carried[VOTES : VOTES + len(self._shared.names)]

    def _wrap(self, batch: Batch) -> DistributedDataParallel:
        """Wrap the loss, and let DDP settle: it orders gradients anew after its first two backward passes.

        Where three ranks or more add up, the order decides the last bits; a resumed run must have that of a whole one.
        """
        # The graph is that of the first step in every step, so what the loss does not use is found once.
        wrap = functools.partial(DistributedDataParallel, self._shared, static_graph=True)
        # The newer name of the same; torch warns of the older one.
        newer = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        wrapped = wrap(forward_sync_buffers=False) if newer else wrap(broadcast_buffers=False)
        self._wrapped = wrapped
        before = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        votes = torch.zeros(VOTES, device=batch.x.device)
        for _ in range(2):
            torch.autograd.backward(wrapped(self._shared.losses, batch, batch.x, 0.0, votes))
        for parameter in self._shared.parameters():
            parameter.grad = None
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
        return wrapped

    @torch.no_grad()
    def _average_statistics(self, added: Sequence[tuple[Tensor, Tensor]], part: RankPart) -> None:
        """BatchNorm's running averages by rows, and sums over images: one collective for both."""
        layers = [layer for layer in batch_norms(self._model).values() if not isinstance(layer, nn.SyncBatchNorm)]
        averages = [cast(Tensor, tensor) for layer in layers for tensor in (layer.running_mean, layer.running_var)]
        addends = [buffer - before if part.share else torch.zeros_like(buffer) for buffer, before in added]
        if not averages and not addends:
            return
        totals = self._summed([*(tensor * part.share for tensor in averages), *addends])
        for tensor, total in zip(averages, totals[: len(averages)], strict=True):
            tensor.copy_(total)
        for (buffer, before), total in zip(added, totals[len(averages) :], strict=True):
            buffer.copy_(before + total)

    def _learn(self, votes: Tensor) -> None:
        """Take note of what all ranks voted."""
        if not votes.is_cuda:
            self.agreed = (votes > 0).tolist()
            return
        copy = torch.empty(VOTES, dtype=votes.dtype, pin_memory=True).copy_(votes, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._coming.append((copy, event))
        if len(self._coming) > 1:
            done, event = self._coming.pop(0)
            event.synchronize()
            self.agreed = (done > 0).tolist()
