import os
from pathlib import Path

import pytest
import torch

from advdpnp.sweeping.local import LocalRunner, gpus_of, usual_workers
from advdpnp.sweeping.means import Means
from sweeping.small import plan_of


def test_each_process_sees_one_gpu_and_its_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_of(None) == gpus_of("cuda") == ("0", "1") and gpus_of("cpu") == ()
    # Of those that this process may use, by whatever name.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-abc")
    assert gpus_of(None) == ("5", "GPU-abc") and usual_workers(gpus_of(None), 1) == 2
    runner = LocalRunner(Means(threads=3), 3, gpus_of(None))
    variables = [worker._environment for worker in runner._workers]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in variables] == ["5", "GPU-abc", "5"]
    assert {one["OMP_NUM_THREADS"] for one in variables} == {"3"}
    runner.close()


def test_without_gpus_there_are_as_many_processes_as_cores_for_their_threads() -> None:
    cores = len(os.sched_getaffinity(0))
    assert usual_workers((), 1) == cores and usual_workers((), 10 * cores) == 1


def test_a_runner_that_is_stopped_begins_nothing(tmp_path: Path) -> None:
    (task,) = plan_of(tmp_path, "experiments: [{methods: [st]}]")
    runner = LocalRunner(Means(threads=1), 1)
    runner.stop()
    assert runner.submit(task).result().kind == "interrupted"
    runner.close()
    assert not task.run.folder.exists()
