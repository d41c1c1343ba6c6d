"""What is measured: groups of sides that do the same work, each in its own way."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

# What one run gives: adversarial images and their labels; or, of a search, which images withstand.
Output = tuple[Tensor, Tensor] | Tensor
Work = Callable[[], Output]


@dataclass(frozen=True)
class Side:
    """One way to do the work of a group.

    Args:
        name: of its row: a library, a published algorithm, or "ours" and what differs from the default.
        precision: "fp32" or "bf16".
        prepare: sets up; returns a function that takes the number of the round, from 0, for the warm-up, and returns
            what is timed. What differs from round to round (noise, weights to start from) it sets itself, untimed.
    """

    name: str
    precision: str
    prepare: Callable[[], Callable[[int], Work]]


@dataclass(frozen=True)
class Group:
    """Sides that do the same work on the same network and images.

    Args:
        name: "<network>/<work>".
        title: for people.
        images: how many are attacked.
        repeats: rounds.
        sides: in the order in which they take turns.
        judge: the fp32 network in eval mode, which says how strong images are.
        gflop: of the necessary work on one image, 10^9 operations, the same for every side; None where it depends on
            what the attacks find.
        ceilings: measures what the network may be held to, by precision; None where no share is of interest.
        parts: after a run, seconds of its parts by name.
    """

    name: str
    title: str
    images: int
    repeats: int
    sides: tuple[Side, ...]
    judge: nn.Module
    gflop: float | None = None
    ceilings: Callable[[], dict[str, dict[str, object]]] | None = None
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
