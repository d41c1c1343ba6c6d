"""The command: its modes, its exit status, and real processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from advdpnp.lock import owner_of
from advdpnp.runs import Run
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.tasks import SweepTask
from advdpnp.sweeping.work import do
from advdpnp.weights_file import weights_bytes
from commands import call
from sweeping.small import plan_of, sweep_file

# Long enough to be killed in.
LONG = "experiments: [{methods: [at, trades], set: {recipe.epochs: 24, recipe.train_images: 512}}]\nsuites: [clean]"


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "advdpnp", "sweep", str(folder / "small.yaml"), "--out", str(folder / "runs")]
    return subprocess.Popen(
        [*command, "--checkpoint-seconds", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def owner(task: SweepTask, process: "subprocess.Popen[str]", not_one: int = 0) -> int:
    """The number of the process that trains it, once it has stored a state."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        found = owner_of(task.records.lock_path)
        if task.run.state_path.is_file() and found is not None and found[0] != not_one:
            return found[0]
        time.sleep(0.02)
    raise AssertionError("nothing was begun in four minutes")


def wait_for_end(tasks: list[SweepTask]) -> None:
    deadline = time.monotonic() + 60
    while any(task.status().state == "running" for task in tasks):
        assert time.monotonic() < deadline, "what a killed sweep has begun goes on"
        time.sleep(0.05)


@pytest.mark.slow
def test_workers_and_the_sweep_are_killed_and_every_run_ends_as_without(tmp_path: Path) -> None:
    tasks = plan_of(tmp_path, LONG)
    trainings = list(tasks[:2])
    process = start(tmp_path, "--workers", "2")
    victim = owner(trainings[0], process)
    owner(trainings[1], process)
    assert [task.status().state for task in tasks] == ["running", "running", "waiting", "waiting"]
    os.kill(victim, signal.SIGKILL)
    owner(trainings[0], process, not_one=victim)
    process.kill()
    told = process.communicate()[0]
    assert "its process was killed by signal 9; tried again" in told
    wait_for_end(trainings)
    assert trainings[0].status().state == "interrupted"
    assert trainings[1].status().state in ("interrupted", "finished")

    process = start(tmp_path, "--workers", "1")
    owner(trainings[0], process)
    process.terminate()
    told = process.communicate()[0]
    assert process.returncode == 143 and "interrupted; run again: advdpnp sweep" in told
    assert trainings[0].status().state == "interrupted"

    process = start(tmp_path)
    told = process.communicate()[0]
    assert process.returncode == 0 and "4 finished" in told
    for task, quiet in zip(trainings, plan_of(tmp_path, LONG, "quiet")):
        assert do(quiet, Means(threads=1), None).kind == "finished"
        assert [line["epoch"] for line in Run(task.run.folder).epochs()] == list(range(1, 25))
        weights = [one.run.weights_path("last").read_bytes() for one in (task, quiet)]
        assert weights[0] == weights[1]


def test_plan_and_status_write_nothing_and_say_the_same_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(sweep_file(tmp_path, "experiments: [{methods: [st], suites: [clean]}]"))
    out = ["--out", str(tmp_path / "runs")]
    assert call("sweep", file, "plan", *out) == call("sweep", file, "status", *out) == 0
    text = "waiting      digits/tiny/st/seed-0 train\nwaiting      digits/tiny/st/seed-0 clean\n2 waiting\n"
    assert capsys.readouterr().out == text * 2
    assert call("sweep", file, "status", "--json", *out) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["task"], row["state"], row["after"]) for row in rows] == [
        ("digits/tiny/st/seed-0 train", "waiting", []),
        ("digits/tiny/st/seed-0 clean", "waiting", ["digits/tiny/st/seed-0 train"]),
    ]
    assert not (tmp_path / "runs").exists()


def test_a_failure_is_told_by_status_and_its_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "experiments: [{methods: [st], suites: [clean]}]"
    file, tasks = str(sweep_file(tmp_path, text)), plan_of(tmp_path, text)
    tasks[0].records.fail("the disk\nis full")
    assert call("sweep", file, "status", "--out", str(tmp_path / "runs")) == 1
    shown = capsys.readouterr().out
    tasks[0].records.fail("x" * 100_000)
    assert len(tasks[0].status().detail) == 1000
    assert shown == (
        "failed       digits/tiny/st/seed-0 train: the disk is full\n"
        "waiting      digits/tiny/st/seed-0 clean: needs digits/tiny/st/seed-0 train, which failed\n"
        "1 failed, 1 waiting\n"
    )


CIFAR = "data: cifar10\nexperiments: [{methods: [at, hat], seeds: [0, 1], suites: [clean]}]\n"


def test_data_that_are_missing_are_one_line_before_anything_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, root, out = tmp_path / "c.yaml", ["--data-root", str(tmp_path / "none")], ["--out", str(tmp_path / "runs")]
    file.write_text("backbone: tiny\n" + CIFAR)
    assert call("train", "cifar10/tiny/at", *root, *out) == 2
    of_a_training = capsys.readouterr().err.splitlines()[-1]
    assert call("sweep", str(file), *root, *out) == call("sweep", str(file), "resume", *root, *out) == 2
    told = capsys.readouterr()
    assert told.err.splitlines() == [of_a_training] * 2 and "got no data_batch_1" in of_a_training and not told.out
    assert not (tmp_path / "runs").exists()
    assert call("sweep", str(file), "plan", *root, *out) == call("sweep", str(file), "status", *root, *out) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "10 waiting"


def test_data_of_a_cluster_are_not_asked_for_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_cluster(*means: object) -> None:
        raise ValueError("the cluster is reached")

    monkeypatch.setattr("advdpnp.sweeping.on_ray.check_installed", lambda: None)
    monkeypatch.setattr("advdpnp.sweeping.on_ray.RayRunner", no_cluster)
    file = tmp_path / "c.yaml"
    file.write_text("backbone: tiny\n" + CIFAR)
    assert call("sweep", str(file), "--on", "ray", "--data-root", str(tmp_path), "--out", str(tmp_path)) == 2
    assert capsys.readouterr().err == "advdpnp: the cluster is reached\n"


@pytest.mark.parametrize("place", [0, 500, -1], ids=["length", "header", "last byte"])
def test_damaged_weights_are_told_by_status_and_written_anew_by_run(
    place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "experiments: [{methods: [st]}]"
    file, out = str(sweep_file(tmp_path, text)), ["--out", str(tmp_path / "runs")]
    (task,) = plan_of(tmp_path, text)
    task.perform(Means("cpu"), None)
    path = task.run.weights_path("last")
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    for content in (b"", bytes(damaged)):
        path.write_bytes(content)
        assert call("sweep", file, "status", *out) == 1
        shown = capsys.readouterr().out
        assert shown.startswith("failed ") and f"{path} is damaged" in shown and shown.count("\n") == 2
    path.write_bytes(weights_bytes({"weight": torch.zeros(3)}, {"epoch": 1, "config": {"seed": 9}}))
    assert call("sweep", file, "status", *out) == 1
    assert f"{path} is damaged, or of another experiment" in capsys.readouterr().out
    assert not task.is_finished()
    task.perform(Means("cpu"), None)
    assert task.is_finished() and path.read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["stat"], "expected run, resume, plan, status after the file, as in sweep FILE.yaml status; got 'stat'"),
        (["--on", "rays"], "--on must be local or ray; got 'rays'"),
    ],
)
def test_words_that_are_none_are_refused(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("sweep", str(tmp_path / "not-read.yaml"), *arguments) == 2
    assert capsys.readouterr().err == f"advdpnp: {problem}\n"


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sweep", str(tmp_path / "none.yaml")) == 2
    assert capsys.readouterr().err.startswith(f"advdpnp: no configuration file at {tmp_path}/none.yaml")
