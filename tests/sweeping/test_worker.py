"""What a process of a sweep does, done in this one."""

import contextlib
import multiprocessing
import os
from pathlib import Path

import pytest

from advdpnp.sweeping import worker
from advdpnp.sweeping.means import Means
from sweeping.small import plan_of


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process of its own, but for what would change this one."""
    monkeypatch.setattr(os, "setsid", lambda: None)
    monkeypatch.setattr(worker, "_redirected", contextlib.nullcontext)


def test_tasks_are_done_as_they_come_until_there_are_no_more(here: None, tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    ours, theirs = multiprocessing.Pipe()
    for message in (task, task, None):
        ours.send(message)
    worker.serve(theirs, Means(threads=1), {"SWEEP_OF_A_TEST": "1"})
    first, again = ours.recv(), ours.recv()
    assert first.kind == again.kind == "finished" and first.seconds > 0 == again.seconds
    assert os.environ.pop("SWEEP_OF_A_TEST") == "1"


def test_what_all_tasks_need_and_is_not_there_is_the_first_ones_failure(here: None, tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    ours, theirs = multiprocessing.Pipe()
    for message in (task, None):
        ours.send(message)
    worker.serve(theirs, Means(threads=1, plugins=("nowhere.py:Defense",)), {})
    outcome = ours.recv()
    assert outcome.kind == "failed" and "nowhere.py" in outcome.problem


def test_a_folder_that_cannot_be_written_is_a_failure_and_the_next_task_is_done(here: None, tmp_path: Path) -> None:
    text = "experiments: [{methods: [st]}]"
    (tmp_path / "file").write_text("where a folder should be")
    ours, theirs = multiprocessing.Pipe()
    for message in (*plan_of(tmp_path, text, "file/runs"), *plan_of(tmp_path, text), None):
        ours.send(message)
    worker.serve(theirs, Means(threads=1), {})
    failed, finished = ours.recv(), ours.recv()
    assert failed.kind == "failed" and "Not a directory" in failed.problem and finished.kind == "finished"


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows links")
def test_a_log_that_is_a_link_is_a_failure_and_what_it_leads_to_is_left_alone(here: None, tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    (tmp_path / "precious").write_text("keep")
    task.records.log_path.parent.mkdir(parents=True)
    task.records.log_path.symlink_to(tmp_path / "precious")
    ours, theirs = multiprocessing.Pipe()
    for message in (task, None):
        ours.send(message)
    worker.serve(theirs, Means(threads=1), {})
    outcome = ours.recv()
    assert outcome.kind == "failed" and "train.log" in outcome.problem
    assert (tmp_path / "precious").read_text() == "keep"


def test_when_the_sweep_is_gone_the_process_asks_itself_to_end(monkeypatch: pytest.MonkeyPatch, here: None) -> None:
    ours, theirs = multiprocessing.Pipe()
    asked: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, number: asked.append(process))
    ours.close()
    worker.serve(theirs, Means(threads=1), {})
    assert asked == [os.getpid()]
