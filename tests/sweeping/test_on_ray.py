"""A real Ray: two nodes on this machine, one of which is taken away; workers and the driver killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from advdpnp.lock import owner_of
from advdpnp.runs import Run
from advdpnp.sweeping import on_ray
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.tasks import SweepTask
from advdpnp.sweeping.work import do
from commands import call
from sweeping.small import plan_of, sweep_file

HAS_RAY = find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs ray: pip install 'advdpnp[cluster]'")

# Each takes a few seconds, so that there is somebody to kill.
SWEEP = """
experiments: [{methods: [at, trades], set: {recipe.epochs: 48, recipe.train_images: 512}}]
suites: [{suite: mine, attack: ['apgd-ce:steps=4', fgsm], limit: 50, shards: 2}]
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head of one core, which stays, and an address in the environment as a job of the cluster has it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    del os.environ["RAY_ADDRESS"]
    made.shutdown()


def sweep(folder: Path) -> "subprocess.Popen[str]":
    arguments = ["sweep", folder / "small.yaml", "--out", folder / "runs", "--on", "ray", "--checkpoint-seconds", "0"]
    command = [sys.executable, "-m", "advdpnp", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until(true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 240
    while not true():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "nothing happened for four minutes"
        time.sleep(0.02)


def worked_on(tasks: list[SweepTask]) -> list[tuple[SweepTask, int]]:
    """Trainings that have stored a state, and the numbers of their processes."""
    owners = [(task, owner_of(task.records.lock_path)) for task in tasks if task.run.state_path.is_file()]
    return [(task, owner[0]) for task, owner in owners if owner is not None]


def is_of(process: int, node: Any) -> bool:
    """Whether a process of Ray's was started by this node."""
    raylet = node.all_processes["raylet"][0].process.pid
    while process > 1 and process != raylet:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return bool(process == raylet)


def claims(task: SweepTask) -> int:
    return len(task.records.fence_path.read_text().splitlines())


@needs_ray
@pytest.mark.slow
def test_worker_node_and_driver_are_lost_and_every_run_ends_once(cluster: Any, tmp_path: Path) -> None:
    tasks = plan_of(tmp_path, SWEEP)
    trainings = [task for task in tasks if task.key.endswith(" train")]
    node = cluster.add_node(num_cpus=1)
    driver = sweep(tmp_path)

    # A process is killed, and a node taken away with what runs on it.
    wait_until(lambda: len(worked_on(trainings)) == 2, driver)
    assert [task.status().state for task in trainings] == ["running", "running"]
    on_node = {task.key: is_of(process, node) for task, process in worked_on(trainings)}
    assert sorted(on_node.values()) == [False, True]
    os.kill(next(process for task, process in worked_on(trainings) if not on_node[task.key]), signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)
    wait_until(lambda: any(claims(task) == 2 and task.status().state == "running" for task in trainings), driver)

    # The driver is killed, and with it what it has begun.
    driver.kill()
    told = driver.communicate()[0]
    assert "its process was killed; tried again" in told, told
    deadline = time.monotonic() + 60
    while any(task.status().state == "running" for task in trainings):
        assert time.monotonic() < deadline, "what a killed driver has begun goes on"
        time.sleep(0.1)
    assert {task.status().state for task in trainings} <= {"finished", "interrupted", "waiting"}

    # It is started again, on the node that is left, once Ray knows that it is the only one.
    cluster.wait_for_nodes(timeout=60)
    driver = sweep(tmp_path)
    told = driver.communicate()[0]
    assert driver.returncode == 0 and "nodes: 1" in told, told
    assert {task.status().state for task in tasks} == {"finished"}
    for task, quiet in zip(trainings, plan_of(tmp_path, SWEEP, "quiet")):
        assert do(quiet, Means(threads=1), None).kind == "finished"
        assert [line["epoch"] for line in Run(task.run.folder).epochs()] == list(range(1, 49))
        weights = [one.run.weights_path("last").read_bytes() for one in (task, quiet)]
        assert weights[0] == weights[1]


@pytest.mark.parametrize("found", [None, ModuleSpec("ray", None)], ids=["nothing", "a folder of that name"])
def test_without_ray_one_line_says_what_to_install(
    found: ModuleSpec | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: found)
    file = sweep_file(tmp_path, "experiments: [{methods: [at]}]")
    assert call("sweep", str(file), "--on", "ray", "--out", str(tmp_path / "runs")) == 2
    assert "pip install 'advdpnp[cluster]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_node_that_sees_another_folder_does_nothing(tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    out = tmp_path / "runs"
    token = on_ray._token(out)
    assert on_ray._token(out) == token and on_ray._sees(out, token)
    for elsewhere in (tmp_path, tmp_path / "not there"):
        outcome = on_ray._do(task, Means(threads=1), elsewhere, token)
        assert outcome.kind == "failed" and f"{elsewhere} is another folder on node" in outcome.problem
    assert not task.run.folder.exists()


def test_a_token_that_another_sweep_is_about_to_write_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / on_ray.TOKEN
    token.touch()
    monkeypatch.setattr(on_ray.time, "sleep", lambda seconds: token.write_text("of the other sweep"))
    assert on_ray._token(tmp_path) == "of the other sweep"
    token.write_text("")
    monkeypatch.setattr(on_ray, "WRITE_SECONDS", 0.0)
    monkeypatch.setattr(on_ray.time, "sleep", lambda seconds: None)
    with pytest.raises(ValueError, match="is empty: remove it"):
        on_ray._token(tmp_path)


def test_a_defense_that_is_not_there_is_a_failure_and_no_lost_process(tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    out = tmp_path / "runs"
    means = Means(threads=1, plugins=("nowhere.py:Defense",))
    outcome = on_ray._do(task, means, out, on_ray._token(out))
    assert outcome.kind == "failed" and "nowhere.py" in outcome.problem
