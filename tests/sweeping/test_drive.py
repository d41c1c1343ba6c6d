"""A sweep in this process: what becomes of tasks that finish, fail, are lost, or are somebody else's."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from advdpnp import api
from advdpnp.callbacks import Silent
from advdpnp.lock import only_process
from advdpnp.runs import Run
from advdpnp.sweeping import drive
from advdpnp.sweeping.drive import TRIES, Drive
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.states import closing_lines, counts_text, read_states
from advdpnp.sweeping.tasks import SuiteTask, SweepTask, TrainTask
from advdpnp.sweeping.work import Outcome, do
from sweeping.small import plan_of

SUITES = "suites: [{suite: clean}, {suite: mine, attack: ['apgd-ce:steps=4', 'fgsm'], limit: 50, shards: 3}]"


class Here:
    """Does tasks at once, in this process.

    Args:
        act: in place of doing them.
    """

    def __init__(self, act: Callable[[SweepTask], Outcome] = lambda task: do(task, Means(threads=1), None)) -> None:
        self.capacity, self.about, self._act, self.done = 2, "2 at a time", act, list[str]()

    def submit(self, task: SweepTask, takes_over: bool = False) -> "Future[Outcome]":
        self.done.append(task.key)
        future: Future[Outcome] = Future()
        future.set_result(self._act(task))
        return future

    def stop(self) -> None: ...
    def close(self) -> None: ...


def states(tasks: tuple[SweepTask, ...]) -> dict[str, str]:
    return {task.key.removeprefix("digits/tiny/"): status.state for task, status in read_states(tasks)}


def test_each_task_is_done_once_and_shards_give_the_verdicts_of_one_process(tmp_path: Path) -> None:
    tasks = plan_of(tmp_path, "experiments: [{methods: [hat]}]\n" + SUITES)
    runner, told = Here(), list[str]()
    assert set(states(tasks).values()) == {"waiting"}
    Drive(tasks, runner, told.append).run()
    # The last shard has written the whole.
    assert runner.done == [task.key for task in tasks[:-1]]
    assert set(states(tasks).values()) == {"finished"} and counts_text(read_states(tasks)) == "7 finished"
    # Each was claimed once, and nothing else is left.
    left = sorted(path.name for path in (tasks[1].run.folder / ".sweep").iterdir())
    assert left == sorted(task.records.fence_path.name for task in tasks[1:-1])
    assert all(len(task.records.fence_path.read_text().splitlines()) == 1 for task in tasks[:-1])

    merged = json.loads((tasks[1].run.eval_path("mine.json")).read_text())
    whole = api.evaluate_run(tasks[1].run.folder, ["apgd-ce:steps=4", "fgsm"], suite_name="mine", limit=50)
    rows = [(result["clean_verdicts"], *(row["verdicts"] for row in result["attacks"])) for result in (merged, whole)]
    assert rows[0] == rows[1] and merged["shards"] == 3 and 0 < whole["attacks"][1]["robust_accuracy"] < 1

    # The same again finds all of it.
    runner = Here()
    Drive(tasks, runner, told.append).run()
    assert not runner.done and "7 tasks, 7 of them finished; 2 at a time" in told


def test_a_failure_is_stored_and_shown_others_go_on_and_the_next_sweep_tries_again(tmp_path: Path) -> None:
    text = "experiments: [{methods: [at], variants: {wild: {recipe.lr: 1.0e+30}}}, {methods: [st]}]\nsuites: [clean]"
    tasks, told = plan_of(tmp_path, text), list[str]()
    for tries in (1, 2):
        Drive(tasks, Here(), told.append).run()
        assert states(tasks) == {
            "at+wild/seed-0 train": "failed", "st/seed-0 train": "finished",
            "at+wild/seed-0 clean": "waiting", "st/seed-0 clean": "finished",
        }  # fmt: skip
        (_, failed), *_, (_, waiting), _ = read_states(tasks)
        assert "non-finite" in failed.detail and "\n" not in failed.detail
        assert waiting.detail == "needs digits/tiny/at+wild/seed-0 train, which failed"
        assert len(tasks[0].records.fence_path.read_text().splitlines()) == tries


def test_what_cannot_be_stored_is_a_failure_all_the_same(tmp_path: Path) -> None:
    text = "experiments: [{methods: [st, at], suites: [clean]}]"
    (tmp_path / "file").write_text("where a folder should be")
    tasks = plan_of(tmp_path, text, "file/runs")

    def killed(task: SweepTask) -> Outcome:
        return Outcome("lost", "its process was killed") if task is tasks[1] else do(task, Means(threads=1), None)

    drive = Drive(tasks, Here(killed), list[str]().append)
    drive.run()
    assert {status.state for _, status in read_states(tasks)} == {"waiting"}
    found = [(status.state, status.detail) for _, status in read_states(tasks, drive.failed)]
    assert [state for state, _ in found] == ["failed", "failed", "waiting", "waiting"]
    assert "Not a directory" in found[0][1] and found[1][1] == "its process was killed, 3 times"
    assert all(detail.endswith(" train, which failed") for _, detail in found[2:])


def test_a_task_whose_process_is_killed_is_tried_again_but_not_forever(tmp_path: Path) -> None:
    tasks, told = plan_of(tmp_path, "experiments: [{methods: [st, at]}]"), list[str]()

    def killed(task: SweepTask) -> Outcome:
        unlucky = (task is tasks[0] and len(told) > 2) or task is tasks[1]
        return Outcome("lost", "its process was killed by signal 9") if unlucky else do(task, Means(threads=1), None)

    runner = Here(killed)
    Drive(tasks, runner, told.append).run()
    assert runner.done.count(tasks[1].key) == TRIES
    assert states(tasks) == {"st/seed-0 train": "finished", "at/seed-0 train": "failed"}
    assert tasks[1].status().detail == "its process was killed by signal 9, 3 times"


def test_a_task_whose_process_somebody_asks_to_end_is_tried_again_and_what_needs_it_is_done(tmp_path: Path) -> None:
    tasks, told = plan_of(tmp_path, "experiments: [{methods: [st], suites: [clean]}]"), list[str]()

    def asked(task: SweepTask) -> Outcome:
        return Outcome("interrupted") if len(runner.done) == 1 else do(task, Means(threads=1), None)

    runner = Here(asked)
    Drive(tasks, runner, told.append).run()
    assert runner.done == [tasks[0].key, tasks[0].key, tasks[1].key]
    assert told[1] == "digits/tiny/st/seed-0 train: its process was asked to end; tried again"
    assert {status.state for _, status in read_states(tasks)} == {"finished"}


def test_what_another_process_is_at_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drive, "PAUSE", 0.01)
    (task,), told = plan_of(tmp_path, "experiments: [{methods: [st]}]"), list[str]()
    holder = only_process(task.run.lock_path, "the run")
    with holder:
        assert task.status().state == "running"

        def third_time(task: SweepTask) -> Outcome:
            outcome = do(task, Means(threads=1), None)
            if len(runner.done) == 2:
                holder.__exit__(None, None, None)
            return outcome

        runner = Here(third_time)
        Drive((task,), runner, told.append).run()
    assert len(runner.done) == 3 and task.status().state == "finished"
    assert [line for line in told if "in use by process" in line and "waiting for it" in line] == [told[1]]


def test_a_run_of_another_configuration_is_no_finished_one(tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    assert do(task, Means(threads=1), None).kind == "finished"
    (other,) = plan_of(tmp_path, "experiments: [{methods: [st], set: {recipe.lr: 0.5}}]")
    assert other.status().state == "failed" and "recipe.lr: 0.1, not 0.5" in other.status().detail
    outcome = do(other, Means(threads=1), None)
    assert outcome.kind == "failed" and "another configuration" in outcome.problem
    assert task.status().state == "finished"


def test_results_of_other_weights_or_images_are_measured_again(tmp_path: Path) -> None:
    training, attacking = plan_of(tmp_path, "experiments: [{methods: [st], suites: [{suite: clean, limit: 20}]}]")
    assert isinstance(training, TrainTask) and isinstance(attacking, SuiteTask)
    assert [do(task, Means(threads=1), None).kind for task in (training, attacking)] == ["finished"] * 2
    (_, more) = plan_of(tmp_path, "experiments: [{methods: [st], suites: [{suite: clean, limit: 30}]}]")
    assert (attacking.status().state, more.status().state) == ("finished", "waiting")
    weights, _ = training.run.read_weights("last")
    training.run.write_weights("last", {name: value * 0.5 for name, value in weights.items()}, 1)
    assert attacking.status().state == "waiting"


STALE = """
import pickle, sys, torch; from pathlib import Path
torch.set_num_threads(1)
from advdpnp.callbacks import Silent; from advdpnp.sweeping.means import Means; from advdpnp.sweeping.work import do
class Waits(Silent):
    def on_epoch(self, line):
        print("an epoch is done", flush=True); sys.stdin.readline()
print(do(pickle.loads(Path(sys.argv[1]).read_bytes()), Means(threads=1), Waits()))
"""


def test_a_process_that_was_thought_dead_comes_back_and_changes_nothing(tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st], set: {recipe.epochs: 2}}]")
    (tmp_path / "task").write_bytes(pickle.dumps(task))
    stale = subprocess.Popen([sys.executable, "-c", STALE, tmp_path / "task"], stdin=-1, stdout=-1, text=True)
    assert stale.stdout is not None and stale.stdout.readline() == "an epoch is done\n"
    # As long as nobody says that it is dead, it is waited for.
    assert do(task, Means(threads=1), None).kind == "busy"

    class ComesBack(Silent):
        def on_epoch(self, line: dict[str, object]) -> None:
            if line["epoch"] == 1:
                told.extend(stale.communicate("\n\n"))
                assert task.status().state == "running"

    told: list[str] = []
    assert do(task, Means(threads=1), ComesBack(), takes_over=True).kind == "finished"
    assert "kind='busy'" in told[0] and "claimed by another process" in told[0]
    assert task.status().state == "finished" and [line["epoch"] for line in task.run.epochs()] == [1, 2]
    assert len(task.records.fence_path.read_text().splitlines()) == 2
    assert not task.run.lock_path.exists() and not task.records.lock_path.exists()


def test_a_training_by_hand_is_no_process_of_a_sweep_and_keeps_its_lock(tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    with only_process(task.run.lock_path, "the run"):
        assert do(task, Means(threads=1), None, takes_over=True).kind == "busy"


@pytest.mark.parametrize("holds", ["run", "task"])
def test_a_lock_file_that_a_killed_process_left_is_no_running_task(holds: str, tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    Run(task.run.folder).create_or_verify(task.config)  # type: ignore[union-attr]
    path = task.run.lock_path if holds == "run" else task.records.lock_path
    with only_process(path, "it"):
        left = path.read_text()
        assert task.status().state == "running"
    path.parent.mkdir(exist_ok=True)
    # The number is that of a process which is there, and holds nothing.
    path.write_text(left)
    assert task.status().state == "interrupted"


def test_the_end_says_a_common_problem_once_and_what_waits_in_one_line(tmp_path: Path) -> None:
    tasks = plan_of(tmp_path, "experiments: [{methods: [at, st, hat], suites: [clean]}]")
    problems = {task.key: "the disk is full" for task in tasks if task.key.endswith("seed-0 train") and not task.after}
    at, st, helper = problems
    assert closing_lines(read_states(tasks, problems)) == [
        f"failed       {at}: the disk is full",
        f"failed       {st}: as {at}",
        f"failed       {helper}: as {at}",
        "waiting      4 tasks in vain, for what failed",
    ]
    assert closing_lines(read_states(tasks[:1], {})) == ["waiting      1 task in vain, for what failed"]
