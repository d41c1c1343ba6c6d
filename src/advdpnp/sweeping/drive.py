"""A sweep from its first task to its last: what is finished is left alone, what fails is told, and others go on."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from advdpnp.progress import duration
from advdpnp.sweeping.runner import Runner
from advdpnp.sweeping.tasks import SweepTask
from advdpnp.sweeping.work import Outcome

# A process that is killed may have been unlucky; a task that kills three is left alone.
TRIES = 3
# Between two looks at what another process is at.
PAUSE = 2.0


@dataclass
class Drive:
    """A sweep that is being done.

    Args:
        tasks: in an order in which each comes after what it needs.
        runner: does them.
        tell: called with lines for the user.
    Attributes:
        finished: keys of the tasks that are.
        failed: problems of those that failed, by key; what needs one of them is in `in_vain`.
        in_vain: keys of tasks that need one that failed.
    """

    tasks: Sequence[SweepTask]
    runner: Runner
    tell: Callable[[str], None]
    finished: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    in_vain: set[str] = field(default_factory=set)
    _doing: "dict[Future[Outcome], SweepTask]" = field(default_factory=dict)
    _tries: Counter[str] = field(default_factory=Counter)
    _gone: set[str] = field(default_factory=set)
    _busy: dict[str, float] = field(default_factory=dict)
    _stopping: bool = False

    def run(self) -> None:
        """Do what is left.

        Raises:
            KeyboardInterrupt: a signal asked to end; what was being done has stored its state.
        """
        left = [task for task in self.tasks if not self._is_finished(task)]
        done = len(self.tasks) - len(left)
        self.tell(f"{len(self.tasks)} tasks, {done} of them finished; {self.runner.about}")
        try:
            while left or self._doing:
                left = self._submit(left)
                self._take(left)
        except KeyboardInterrupt:
            self._stopping = True
            self.tell("stopping: what is being done stores its state")
            self.runner.stop()
            while self._doing:
                self._take([])
            raise
        finally:
            self.runner.close()

    def _is_finished(self, task: SweepTask) -> bool:
        if task.status().state == "finished":
            self.finished.add(task.key)
        return task.key in self.finished

    def _submit(self, left: list[SweepTask]) -> list[SweepTask]:
        """Begin as many tasks as there is room for; those that remain."""
        rest, now = [], time.monotonic()
        for task in left:
            if any(key in self.failed or key in self.in_vain for key in task.after):
                self.in_vain.add(task.key)
                continue
            ready = self.finished.issuperset(task.after) and self._busy.get(task.key, 0.0) <= now
            if not ready or len(self._doing) >= self.runner.capacity:
                rest.append(task)
                continue
            # The last shard has merged them, or another sweep was here.
            if self._is_finished(task):
                self._settle(task, Outcome("finished"))
                continue
            self._doing[self.runner.submit(task, task.key in self._gone)] = task
        return rest

    def _take(self, left: list[SweepTask]) -> None:
        """Wait for the next outcome; what is to be tried again goes to `left`."""
        if not self._doing:
            time.sleep(PAUSE if any(task.key in self._busy for task in left) else 0.0)
            return
        waits = PAUSE if any(task.key in self._busy for task in left) else None
        done, _ = wait(self._doing, timeout=waits, return_when=FIRST_COMPLETED)
        for future in done:
            task = self._doing.pop(future)
            if self._settle(task, future.result()):
                left.insert(0, task)

    def _settle(self, task: SweepTask, outcome: Outcome) -> bool:
        """Note how a task ended; whether it is to be tried again."""
        if outcome.kind == "finished":
            self.finished.add(task.key)
            self._gone.discard(task.key)
            took = f" ({duration(outcome.seconds)})" if outcome.seconds else ""
            self.tell(f"[{len(self.finished)}/{len(self.tasks)}] {task.key}: finished{took}")
            return False
        if outcome.kind == "busy":
            if task.key not in self._busy:
                self.tell(f"{task.key}: {outcome.problem}; waiting for it")
            self._busy[task.key] = time.monotonic() + PAUSE
            return True
        if outcome.kind == "interrupted" and not self._stopping:
            # Somebody else has asked its process to end, as `kill` does.
            outcome = Outcome("lost", "its process was asked to end")
        if outcome.kind in ("lost", "gone"):
            if outcome.kind == "gone":
                self._gone.add(task.key)
            self._tries[task.key] += 1
            if self._tries[task.key] < TRIES:
                self.tell(f"{task.key}: {outcome.problem}; tried again")
                return True
            outcome = Outcome("failed", f"{outcome.problem}, {TRIES} times")
            # Where it cannot be stored, the others go on all the same.
            with contextlib.suppress(OSError):
                task.records.fail(outcome.problem)
        if outcome.kind == "failed":
            self.failed[task.key] = outcome.problem
            self.tell(f"{task.key}: FAILED: {outcome.problem}")
        return False
