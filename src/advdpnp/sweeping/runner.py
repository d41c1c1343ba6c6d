"""What does the tasks of a sweep: processes of this machine, or a cluster."""

from concurrent.futures import Future
from typing import Protocol

from advdpnp.sweeping.tasks import SweepTask
from advdpnp.sweeping.work import Outcome


class Runner(Protocol):
    """Does tasks, several at a time."""

    @property
    def capacity(self) -> int:
        """How many tasks it can have at a time."""

    @property
    def about(self) -> str:
        """What it is, in words."""

    def submit(self, task: SweepTask, takes_over: bool = False) -> "Future[Outcome]":
        """Begin a task, in place of a process that counts as dead if need be; being killed is an outcome, no error."""

    def stop(self) -> None:
        """Ask all that is being done to store its state and end; their outcomes are "interrupted"."""

    def close(self) -> None:
        """End what is idle."""
