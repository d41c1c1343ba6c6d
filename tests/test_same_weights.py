"""A result that was copied from another run is whole, and tells of another network."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from advdpnp.report.read import read_run, read_whole_run
from advdpnp.result_files import ResultFiles
from advdpnp.runs import Run, read_json, write_json
from report.conftest import make_run_under


def _says(path: Path, weights: str) -> None:
    content = json.loads(path.read_text())
    content.pop("sha256", None)
    write_json(path, content | {"checkpoint": "last", "weights": weights})


def test_a_result_of_other_weights_is_told_wherever_it_is_read(tmp_path: Path) -> None:
    run = Run(make_run_under(tmp_path)())
    write_json(run.folder / "config.json", json.loads((run.folder / "config.json").read_text()))
    path, name = run.eval_path("demo.json"), "demo"
    run.write_weights("last", {"a": torch.zeros(2)}, 1)
    _says(path, run.weights_sha256("last"))
    assert len(read_run(run.folder).suites) == 1
    assert ResultFiles(run, name).read() == read_json(path)
    _says(path, "0" * 64)
    found = read_run(run.folder)
    assert found.suites == [] and "demo.json is a result of other weights (000000000000...)" in found.unread[0].reason
    readers: tuple[Callable[[], object], ...] = (
        lambda: ResultFiles(run, name).read(),
        lambda: read_whole_run(run.folder),
    )
    for read in readers:
        with pytest.raises(ValueError, match=r"demo\.json is a result of other weights.*evaluate the run again"):
            read()
    # Where results were kept without weights, nothing can be told.
    run.weights_path("last").unlink()
    assert len(read_run(run.folder).suites) == 1
