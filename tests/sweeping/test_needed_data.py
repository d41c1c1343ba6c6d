"""Images are read once before a sweep begins: those of tasks that are not finished, and no others."""

from pathlib import Path

import pytest

from advdpnp import data
from advdpnp.data import DataSpec
from advdpnp.sweeping.means import Means
from advdpnp.sweeping.needed_data import check_data
from advdpnp.sweeping.work import do
from sweeping.small import plan_of


def test_each_split_of_what_is_left_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, str, Path | None]] = []

    def load(facts: DataSpec, split: str, root: Path | None) -> None:
        read.append((facts.name, split, root))

    tasks = plan_of(tmp_path, "experiments: [{methods: [at, st], seeds: [0, 1], suites: [clean]}]")
    with monkeypatch.context() as patched:
        patched.setattr(data, "load", load)
        check_data(tasks, tmp_path)
    assert read == [("digits", "train", tmp_path), ("digits", "test", tmp_path)]

    training, suite = tasks[0], next(task for task in tasks if task.after == (tasks[0].key,))
    for expected, task in (([("digits", "test", None)], training), ([], suite)):
        assert do(task, Means(threads=1), None).kind == "finished"
        read.clear()
        with monkeypatch.context() as patched:
            patched.setattr(data, "load", load)
            check_data((training, suite))
        assert read == expected
