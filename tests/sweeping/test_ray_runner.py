"""What is asked of Ray, and what its answers mean, with a stand-in for it."""

import sys
import types
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from advdpnp.sweeping import on_ray
from advdpnp.sweeping.drive import TRIES, Drive
from advdpnp.sweeping.means import Means
from sweeping.small import plan_of


class Reference:
    """Of a task that is done at once."""

    def __init__(self, act: Any) -> None:
        self.act = act

    def future(self) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(self.act())
        except Exception as error:
            future.set_exception(error)
        return future


class Ray(types.ModuleType):
    """As much of Ray as is used: everything is done here, at once."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.asked: list[dict[str, Any]] = []
        self.losses: list[Exception] = []
        self.cancelled: list[Any] = []
        self.began: list[dict[str, Any]] = []
        self.running, self.nodes_there = True, ["first", "second"]
        kinds = ("TaskCancelledError", "NodeDiedError", "OutOfMemoryError", "WorkerCrashedError")
        base = type("RayError", (Exception,), {})
        self.exceptions = types.SimpleNamespace(RayError=base, **{kind: type(kind, (base,), {}) for kind in kinds})

    def is_initialized(self) -> bool:
        return self.running

    def init(self, **how: Any) -> None:
        self.began.append(how)
        if how["address"] == "auto":
            raise ConnectionError

    def nodes(self) -> list[dict[str, Any]]:
        # Several nodes may be on one machine.
        return [{"Alive": True, "NodeID": name, "NodeManagerAddress": "10.0.0.1"} for name in self.nodes_there]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 8.0, "GPU": 2.0}

    def remote(self, **how: Any) -> Any:
        self.asked.append(how)

        def of(function: Any) -> Any:
            def remote(*arguments: Any) -> Reference:
                def act() -> Any:
                    if self.losses and "runtime_env" in how:
                        raise self.losses.pop(0)
                    return function(*arguments)

                return Reference(act)

            made = types.SimpleNamespace(remote=remote)
            made.options = lambda scheduling_strategy: made
            return made

        return of

    def get(self, reference: Reference, timeout: float) -> Any:
        return reference.act()

    def cancel(self, reference: Reference, force: bool) -> None:
        self.cancelled.append(reference)

    def shutdown(self) -> None: ...


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ray]:
    made = Ray()
    strategies: Any = types.ModuleType("ray.util.scheduling_strategies")
    strategies.NodeAffinitySchedulingStrategy = lambda node, soft: node
    modules = {"ray": made, "ray.util": types.ModuleType("ray.util"), "ray.util.scheduling_strategies": strategies,
               "ray._private": types.ModuleType("ray._private"),
               "ray._private.ray_constants": types.ModuleType("ray._private.ray_constants")}  # fmt: skip
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(on_ray, "check_installed", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield made


def test_a_task_asks_for_a_gpu_and_threads_and_losses_are_tried_again(ray: Ray, tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    runner, told = on_ray.RayRunner(Means(threads=1), tmp_path / "runs"), list[str]()
    assert runner.about == "about 2 at a time on Ray, nodes: 2"
    ray.losses = [ray.exceptions.WorkerCrashedError("a"), ray.exceptions.NodeDiedError("b")]
    Drive((task,), runner, told.append).run()
    assert task.status().state == "finished"
    assert [line.partition(": ")[2] for line in told[1:3]] == [
        "its process was killed; tried again",
        "its node is gone; tried again",
    ]
    wanted = {"num_cpus": 1, "num_gpus": 1, "max_retries": 0}
    assert ray.asked[-1] == wanted | {"runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}}}
    assert "64 images in batches" in task.records.log_path.read_text()


def test_a_task_that_is_lost_too_often_has_failed(ray: Ray, tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    runner, told = on_ray.RayRunner(Means(device="cpu"), tmp_path / "runs"), list[str]()
    ray.losses = [ray.exceptions.OutOfMemoryError("much")] * TRIES
    Drive((task,), runner, told.append).run()
    assert task.status().state == "failed"
    assert task.status().detail == "its process was killed for the memory that it took, 3 times"
    assert ray.asked[-1]["num_gpus"] == 0


def test_what_is_cancelled_is_interrupted(ray: Ray, tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    runner = on_ray.RayRunner(Means(threads=1), tmp_path / "runs")
    ray.losses = [ray.exceptions.TaskCancelledError()]
    assert runner.submit(task).result().kind == "interrupted"
    runner._doing[Future()] = "a reference"
    runner.stop()
    assert ray.cancelled == ["a reference"]


def test_a_node_that_does_not_see_the_folder_or_does_not_answer_is_named(
    ray: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_sees", lambda out, token: False)
    with pytest.raises(ValueError, match=r"runs is another folder on node 10\.0\.0\.1 than here: give --out"):
        on_ray.RayRunner(Means(threads=1), tmp_path / "runs")

    def silent(out: Path, token: str) -> bool:
        raise ray.exceptions.NodeDiedError("no\nanswer")

    monkeypatch.setattr(on_ray, "_sees", silent)
    with pytest.raises(ValueError, match=r"node 10\.0\.0\.1 of the cluster does not answer \(no answer\)"):
        on_ray.RayRunner(Means(threads=1), tmp_path / "runs")


def test_each_node_is_asked_and_one_that_goes_meanwhile_is_one_less(
    ray: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(out: Path, token: str) -> bool:
        asked.append(token)
        if len(asked) == 2:
            ray.nodes_there.remove("second")
            raise ray.exceptions.NodeDiedError("gone")
        return True

    monkeypatch.setattr(on_ray, "_sees", answer)
    assert on_ray.RayRunner(Means(threads=1), tmp_path / "runs").about.endswith("nodes: 1")
    assert len(asked) == 2


def test_without_a_cluster_one_is_started_that_only_this_machine_reaches(
    ray: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is set is put back.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.running = False
    on_ray.RayRunner(Means(threads=2), tmp_path / "runs", workers=3)
    assert [how["address"] for how in ray.began] == ["auto", "local"]
    assert ray.began[1]["num_cpus"] == 6 and not ray.began[1]["include_dashboard"]
    constants: Any = sys.modules["ray._private.ray_constants"]
    assert constants.ENABLE_RAY_CLUSTER is False
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")
    with pytest.raises(ValueError, match=r"no cluster answers at RAY_ADDRESS=10\.0\.0\.9:6379"):
        on_ray.RayRunner(Means(threads=1), tmp_path / "runs")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ValueError, match="ray job submit"):
        on_ray.RayRunner(Means(), tmp_path)
