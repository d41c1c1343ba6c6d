"""BatchNorm's running averages: is a training long enough for them, and do they fit the network in the end?"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from advdpnp.losses import is_right
from advdpnp.models.copying import copied
from advdpnp.training.averaging import batch_norms, frozen_tensors

# A running average with momentum m remembers about 1 / m steps. After 20 times as many a share of 2e-9 of its first
# value is left, and the recipes' steps of low rate, a tenth of the training, are two thirds of what it remembers.
WINDOWS = 20
# Of the images of one look; and the share of them that may be right with the batch's own statistics alone.
LOOK_IMAGES = 512
TOLERANCE = 0.1


def averages_settle(model: nn.Module, steps: int) -> bool:
    """Whether a training of so many steps is long enough for the running averages of the network's BatchNorm layers.

    An average without momentum, equal over all steps, remembers the first ones for ever.
    """
    windows = [1 / layer.momentum if layer.momentum else math.inf for layer in batch_norms(model).values()]
    return steps >= WINDOWS * max(windows, default=0.0)


@torch.no_grad()
def two_accuracies(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Accuracies of the same images with BatchNorm's running averages, and with each batch's own statistics.

    Args:
        model: is not changed.
        batches: x (B, channels, H, W) in [0, 1] and labels (B,).
    """
    averaged = copied(model, frozen_tensors(model)).eval()
    own = copied(averaged, frozen_tensors(model))
    for layer in batch_norms(own).values():
        layer.train()
    images = right = right_own = 0
    for x, y in batches:
        images += len(y)
        right += int(is_right(averaged(x), y).sum())
        right_own += int(is_right(own(x), y).sum())
    return right / images, right_own / images


def disagreement_text(running: float, own: float) -> str | None:
    """A warning if running averages lose more than `TOLERANCE` of the images, all fractions; None if not."""
    if own - running <= TOLERANCE:
        return None
    return (
        f"warning: of the training images {running:.0%} are right as the network is stored and evaluated, "
        f"{own:.0%} with BatchNorm's statistics of the batch itself: its running averages lag behind the weights, and "
        "robust and clean accuracy suffer. Train more epochs, or end with a lower rate (recipe.epochs, recipe.lr)"
    )
