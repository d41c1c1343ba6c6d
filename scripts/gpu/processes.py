"""Stages: each a process of its own in a group of its own, with a time after which the group is killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from advdpnp.runs import Json

# What a stage ends with: everything done; it cannot run; the time was up; what it tried has failed.
DONE, REFUSED, AGAIN, FAILED = 0, 2, 3, 4
_WORDS = {DONE: "done", REFUSED: "refused", AGAIN: "out of time", FAILED: "failed"}

_POLL_SECONDS = 0.1
# A process that a driver holds does not die at once, and must not hold up the others.
_BURIAL_SECONDS = 5.0

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Stage:
    """Work for a process.

    Args:
        name: of the stage.
        job: what the process reads, as one line of JSON; see `next_job`.
        seconds: how long it may take; then its whole group is killed.
        deadline: likewise, in seconds since the epoch.
        news: a file that the process touches while it gets on.
        stall: seconds without news after which it is killed as well; 0 waits for ever.
        facts: entries of its outcome.
    """

    name: str
    job: Json
    seconds: float
    deadline: float
    news: Path | None = None
    stall: float = 0.0
    facts: Json = field(default_factory=dict)


class Workers:
    """Processes that wait for work: while a stage runs, the next one's process is importing already.

    Args:
        command: of a process; it reads its job from the standard input, which ends when this process does.
        log: what they print is added to it.
        environment: of the processes.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._command, self._log, self._environment = list(command), log, dict(environment)
        self._spare: Process | None = None

    def start(self, stage: Stage) -> Process:
        """A process that works on the stage."""
        process, self._spare = self._spare or self._new(), None
        assert process.stdin is not None
        # One that died while it waited says so by its status.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(stage.job).encode() + b"\n")
            process.stdin.flush()
        return process

    def prepare(self) -> None:
        """Have a process waiting."""
        self._spare = self._spare or self._new()

    def close(self) -> None:
        """End the one that waits."""
        if self._spare is not None:
            bury(self._spare)
            self._spare = None

    def _new(self) -> Process:
        with self._log.open("ab") as out:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment,
                process_group=0,
            )


@dataclass
class _Running:
    stage: Stage
    process: Process
    began: float
    cause: str = ""
    killed: float = 0.0

    def look(self) -> Json | None:
        """Its outcome once it has ended; kills it where its time is up."""
        now = time.time()
        if self.process.poll() is None and not (self.cause and now - self.killed > _BURIAL_SECONDS):
            if now > min(self.stage.deadline, self.began + self.stage.seconds):
                self._kill("killed: over its time")
            elif self.stage.stall and now - self._last_news() > self.stage.stall:
                self._kill(f"killed: {self.stage.stall:g} s without news")
            return None
        # What it had started and left behind.
        kill_group(self.process)
        code = self.process.returncode
        word = self.cause or _WORDS.get(code, f"crashed: status {code}")
        return _outcome(self.stage, word, time.time() - self.began)

    def _last_news(self) -> float:
        news = self.stage.news
        return max(self.began, news.stat().st_mtime if news is not None and news.exists() else 0.0)

    def _kill(self, cause: str) -> None:
        if not self.cause:
            self.cause, self.killed = cause, time.time()
            kill_group(self.process)


def _outcome(stage: Stage, ended: str, seconds: float) -> Json:
    return {"stage": stage.name, "ended": ended, "seconds": round(seconds, 2), **stage.facts}


def kill_group(process: Process) -> None:
    """SIGKILL for a process that leads a group, and for all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()


def bury(process: Process) -> None:
    """Kill a process with its group, and wait for its end."""
    kill_group(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_BURIAL_SECONDS)


def run_stages(
    stages: Sequence[Stage],
    workers: Workers,
    at_once: int = 1,
    tick: Callable[[list[Json]], None] = lambda ended: None,
    prepare: bool = True,
) -> list[Json]:
    """Run stages, so many at once, and return their outcomes as they end.

    Args:
        stages: begun in this order. One whose deadline is over by then is not begun.
        workers: the processes.
        at_once: how many run beside each other.
        tick: called several times a second with the outcomes that are new since the last call.
        prepare: have a process ready for what follows.
    """
    waiting, outcomes = list(stages), []
    running: list[_Running] = []
    try:
        while waiting or running:
            new: list[Json] = []
            while waiting and len(running) < at_once:
                stage = waiting.pop(0)
                if stage.seconds <= 0 or time.time() >= stage.deadline:
                    new.append(_outcome(stage, "not begun: no time", 0.0))
                else:
                    running.append(_Running(stage, workers.start(stage), time.time()))
            if prepare and running and not waiting:
                workers.prepare()
            for one in list(running):
                if (outcome := one.look()) is not None:
                    running.remove(one)
                    new.append(outcome)
            outcomes += new
            tick(new)
            if running:
                time.sleep(_POLL_SECONDS)
    finally:
        for one in running:
            bury(one.process)
    return outcomes


def next_job() -> Json | None:
    """In a worker: its job, once there is one; None where there will be none. From then on the worker ends, and all of
    its group with it, as soon as the process that started it is gone."""
    line = sys.stdin.readline()
    if not line:
        return None

    def wait() -> None:
        while sys.stdin.readline():
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
    return dict(json.loads(line))


def log_line(text: str) -> None:
    """One line that is there at once."""
    print(text, file=sys.stderr, flush=True)
