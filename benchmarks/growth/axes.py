"""What grows, over which values, and how fast time and memory may grow with it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Literal

from advdpnp.runs import Json

Work = Literal["training step", "attack", "evaluation", "epoch", "predictions"]


@dataclass(frozen=True)
class Setting:
    """One piece of work: all that decides its cost.

    Args:
        work: what is done.
        batch: images that go through the network together.
        side: pixels of the side of an image.
        classes: of the data, each with a prototype.
        steps: iterations of the attack.
        width: channels of the first stage of a ResNet-8, 16 in the usual one; 0 for the tiny network on 8x8 images.
        images: of the data set; 0 for one batch of a step and an attack, two of an evaluation.
    """

    work: Work
    batch: int = 32
    side: int = 32
    classes: int = 10
    steps: int = 10
    width: int = 16
    images: int = 0

    def json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Axis:
    """One thing that grows while all else stays.

    Args:
        name: of a field of `Setting`.
        title: for people.
        values: in growing order.
        base: what stays, of each work.
        seconds, memory: the exponents that the work has: of the seconds of an image, and of the peak of memory.
    """

    name: str
    title: str
    values: tuple[int, ...]
    base: tuple[Setting, ...]
    seconds: float
    memory: float

    def points(self) -> Iterator[Setting]:
        """The settings, in the order in which they are measured: a value of all works before the next value."""
        for value in self.values:
            for setting in self.base:
                yield replace(setting, **{self.name: value})


_WORKS: tuple[Work, ...] = ("training step", "attack", "evaluation")


def _base(batch: int = 32) -> tuple[Setting, ...]:
    return tuple(Setting(work, batch) for work in _WORKS)


def _data(work: Work) -> Setting:
    return Setting(work, batch=128, side=8, steps=1, width=0)


AXES: tuple[Axis, ...] = (
    Axis("batch", "images of a batch", (8, 16, 32, 64, 128, 256), _base(), 0, 1),
    # Convolutions go over each pixel.
    Axis("side", "side of an image", (32, 64, 128, 224), _base(8), 2, 2),
    Axis("classes", "classes", (10, 100, 1000), _base(), 0, 0),
    Axis("steps", "iterations of the attack", (1, 3, 10, 30, 100), _base(), 1, 0),
    # Each output channel reads each input channel.
    Axis("width", "channels of the first stage", (8, 16, 32, 64), _base(), 2, 1),
    Axis(
        "images",
        "images of the data set",
        (1_000, 10_000, 100_000),
        (_data("epoch"), _data("evaluation"), _data("predictions")),
        0,
        0,
    ),
)
