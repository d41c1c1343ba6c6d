"""Processes of stages: limits that reach all that a stage has started, and no orphans, however the parent ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu.processes import Stage, Workers, run_stages

FAKE = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(FAKE, tmp_path / "log.txt", os.environ)
    yield made
    made.close()


def stage(folder: Path, name: str = "one", seconds: float = 60.0, stall: float = 0.0, **options: Any) -> Stage:
    job = {"name": name, "work": str(folder), "options": options}
    news = folder / "stages" / f"{name}.json"
    return Stage(name, job, seconds, time.time() + 1000, news, stall, {"mark": name})


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody waits for has."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("options", "ended"),
    [
        ({}, "done"),
        ({"status": 3}, "out of time"),
        ({"status": 4}, "failed"),
        ({"status": 1}, "crashed: status 1"),
        ({"signal": signal.SIGSEGV}, "crashed: status -11"),
    ],
)
def test_how_a_stage_ended(options: dict[str, Any], ended: str, workers: Workers, tmp_path: Path) -> None:
    (outcome,) = run_stages([stage(tmp_path, **options)], workers)
    assert outcome["ended"] == ended and outcome["mark"] == "one" and outcome["seconds"] < 30


def test_what_is_over_its_time_is_killed_with_all_that_it_started(workers: Workers, tmp_path: Path) -> None:
    child = tmp_path / "child"
    (outcome,) = run_stages([stage(tmp_path, seconds=1.5, sleep=60, child=str(child))], workers)
    assert outcome["ended"] == "killed: over its time" and outcome["seconds"] < 20
    assert gone(int(child.read_text()))


def test_what_a_stage_leaves_running_goes_with_it(workers: Workers, tmp_path: Path) -> None:
    child = tmp_path / "child"
    (outcome,) = run_stages([stage(tmp_path, child=str(child))], workers)
    assert outcome["ended"] == "done" and gone(int(child.read_text()))


def test_a_stage_without_news_is_killed_and_one_with_news_is_not(workers: Workers, tmp_path: Path) -> None:
    silent = stage(tmp_path, "silent", stall=2.0, sleep=60)
    talking = stage(tmp_path, "talking", stall=2.0, writes=6, pause=0.5)
    ended = {outcome["stage"]: outcome["ended"] for outcome in run_stages([silent, talking], workers, at_once=2)}
    assert ended == {"silent": "killed: 2 s without news", "talking": "done"}


def test_what_has_no_time_is_not_begun(workers: Workers, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    over = Stage("over", {"name": "over", "options": {"pid": str(pid)}}, 60.0, time.time() - 1)
    nothing = stage(tmp_path, "nothing", seconds=0.0, pid=str(pid))
    assert [o["ended"] for o in run_stages([over, nothing], workers)] == ["not begun: no time"] * 2
    assert not pid.exists()


def test_stages_run_beside_each_other_and_what_they_say_is_in_the_log(workers: Workers, tmp_path: Path) -> None:
    began, seen = time.monotonic(), []
    several = [stage(tmp_path, str(number), sleep=2.0, say=f"I am {number}") for number in range(4)]
    run_stages(several, workers, at_once=4, tick=seen.append)
    assert time.monotonic() - began < 7
    assert sorted(outcome["stage"] for new in seen for outcome in new) == ["0", "1", "2", "3"]
    assert all(f"I am {number}" in (tmp_path / "log.txt").read_text() for number in range(4))


def test_a_process_is_ready_before_its_stage_and_is_ended_if_there_is_none(tmp_path: Path) -> None:
    workers = Workers(FAKE, tmp_path / "log.txt", os.environ)
    run_stages([stage(tmp_path, sleep=0.3)], workers)
    spare = workers._spare
    assert spare is not None and spare.poll() is None
    pid = tmp_path / "pid"
    run_stages([stage(tmp_path, "two", pid=str(pid))], workers, prepare=False)
    assert int(pid.read_text()) == spare.pid and workers._spare is None
    workers.prepare()
    last = workers._spare
    workers.close()
    assert last is not None and gone(last.pid)


PARENT = """
import os, sys, time
from pathlib import Path
from gpu.processes import Stage, Workers, run_stages
folder = Path(sys.argv[1])
workers = Workers([sys.executable, sys.argv[2]], folder / "log.txt", os.environ)
options = {"sleep": 60, "pid": str(folder / "pid"), "child": str(folder / "child")}
run_stages([Stage("one", {"name": "one", "options": options}, 60.0, time.time() + 60)], workers)
"""


def test_no_stage_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    scripts = str(Path(__file__).parents[2] / "scripts")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([scripts, os.environ.get("PYTHONPATH", "")])}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), FAKE[1]], env=environment)
    wait_for(tmp_path / "pid")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone(int((tmp_path / "pid").read_text())) and gone(int((tmp_path / "child").read_text()))


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists() and path.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")
