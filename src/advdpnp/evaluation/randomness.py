"""Randomized networks: how they are evaluated, and how their draws are made to repeat."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from advdpnp.data import Images
from advdpnp.evaluation.model_checks import answers_alike, check_not_empty
from advdpnp.models.expected import ExpectedModel

# How many images tell whether a network draws random numbers, and the fewest rows of a forward of several draws.
_FEW, _FEWEST_ROWS = 16, 8

ALIKE = (
    "the network answers the same images alike every time, so averaging over draws (eot) changes nothing but the time: "
    "leave it out"
)


def with_draws(model: nn.Module, draws: int, images: Images) -> tuple[nn.Module, list[str]]:
    """The network as attacks and verdicts see it, and a caution where it is not random.

    Args:
        model: in eval mode, on the images' device.
        draws: answers that are averaged; 1 for the network itself.
        images: the test set; its first images are used.
    """
    if draws == 1:
        return model, []
    check_not_empty(images)
    x, _ = images.first(_FEW)
    return ExpectedModel(model, draws), [ALIKE] if answers_alike(model, x) else []


def rows_with_draws(rows: int, draws: int) -> int:
    """Rows of a forward of which each holds so many draws: as much memory as without, but not fewer than 8 rows."""
    return rows if draws == 1 else max(min(rows, _FEWEST_ROWS), rows // draws)


@contextlib.contextmanager
def draws_from(seed: int, device: torch.device, draws: int) -> Iterator[None]:
    """Inside, torch's own generators begin at a seed, for networks that draw from them; outside, they are as they were.

    Nothing is touched where `draws` is 1.
    """
    if draws == 1:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
