"""How much is measured: all of it, or a handful to see that it works."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Numbers of each part.

    Args:
        kills: SIGKILLs in training, evaluation and report, each.
        images: of the evaluation that is killed.
        flips: bits that are turned over in each kind of file.
        changes: malformed values in each kind of JSON file, at most about so many.
        runs, minutes: of the soak; whichever comes first.
        every: runs between two looks at the memory.
        seed: of the moments of the kills.
    """

    kills: int
    images: int
    flips: int
    changes: int
    runs: int
    minutes: float
    every: int = 20
    seed: int = 0


FULL = Scale(kills=30, images=100, flips=400, changes=120, runs=2000, minutes=240)
QUICK = Scale(kills=2, images=16, flips=6, changes=8, runs=6, minutes=2, every=1)
