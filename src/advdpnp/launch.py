"""What torchrun tells each process that it starts: which rank it is, of how many. Imports no torch."""

import os
from dataclasses import dataclass

# In the environment of every process of torchrun, and of no other launcher.
RUN_VARIABLE = "TORCHELASTIC_RUN_ID"


class RankError(ValueError):
    """What went wrong on one rank alone, which is not the first: its message names the rank."""


class ToldByAnotherRank(SystemExit):
    """The end of a rank, with status 2, where another one has told what went wrong."""


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that one torchrun started, on all machines together.

    Args:
        rank: from 0; rank 0 writes and prints.
        size: number of ranks.
        local_rank: among those of this machine, from 0.
        local_size: number of ranks of this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def launch() -> Launch:
    """This process as torchrun's environment describes it; one rank alone where torchrun did not start it."""
    if RUN_VARIABLE not in os.environ:
        return Launch()
    names = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
    return Launch(*(int(os.environ[name]) for name in names))
