"""The unattended script: pieces continue each other, engines fall back, and what it leaves is small and complete."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from advdpnp.runs import Run, read_json, write_json

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_row.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_row", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_row"] = module
    spec.loader.exec_module(module)
    return module


gpu_row = _load()


def command(row: int, folder: Path, *more: str) -> list[str]:
    return [str(row), "--tiny", "--runs", str(folder / "runs"), "--out", str(folder / "out"), *more]


def script(row: int, folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-W", "error", str(SCRIPT), *command(row, folder, *more)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[1] / "src")}
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture
def quick_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 4 with one suite."""
    monkeypatch.setitem(gpu_row.ROWS, 4, (gpu_row.Arm("at", suites=("pgd20",)),))


@pytest.mark.slow
def test_a_row_leaves_results_and_weights_and_a_second_start_finds_it_done(tmp_path: Path) -> None:
    first = script(2, tmp_path)
    assert first.returncode == 0, first.stderr
    assert "row 2: done" in first.stdout
    assert "1/1" in first.stderr
    second = script(2, tmp_path)
    assert second.returncode == 0 and "1/1" not in second.stderr


def test_results_hold_the_run_and_its_evaluations(quick_row: None, tmp_path: Path) -> None:
    assert gpu_row.main(command(4, tmp_path)) == gpu_row.DONE
    found = read_json(tmp_path / "out" / "at" / "results.json")
    assert found["trained"] and found["missing_suites"] == [] and found["engine_failures"] == []
    assert found["eval"]["pgd20"]["n"] == 64 and len(found["train"]) == 1
    assert found["pieces"][0]["epochs"] == [0, 1] and found["median_epoch_seconds"] > 0
    run = Run(tmp_path / "runs" / "digits" / "resnet8" / "at" / "seed-0")
    kept = load_file(tmp_path / "out" / "at" / "weights-bf16-1of1.safetensors")
    for name, weight in run.read_weights("last")[0].items():
        torch.testing.assert_close(kept[name].to(weight.dtype), weight, rtol=2**-8, atol=0)


def test_a_piece_that_is_too_short_says_so_and_the_next_one_goes_on(quick_row: None, tmp_path: Path) -> None:
    assert gpu_row.main(command(4, tmp_path, "--minutes", "0")) == gpu_row.AGAIN
    assert gpu_row.main(command(4, tmp_path)) == gpu_row.DONE


def test_a_run_that_was_stopped_between_steps_continues(
    quick_row: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(piece: Any, epoch: int, step: int, steps: int, epochs: int) -> None:
        if step == 2:
            raise gpu_row.OutOfTimeError

    monkeypatch.setattr(gpu_row, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(gpu_row.Piece, "on_step", stop)
        assert gpu_row.main(command(4, tmp_path)) == gpu_row.AGAIN
    found = read_json(tmp_path / "out" / "at" / "results.json")
    assert not found["trained"] and found["missing_suites"] == ["pgd20"]
    assert gpu_row.main(command(4, tmp_path)) == gpu_row.DONE
    pieces = read_json(tmp_path / "out" / "at" / "results.json")["pieces"]
    assert [piece["epochs"] for piece in pieces] == [[0, 0], [0, 1]]


def test_an_engine_that_fails_is_recorded_and_the_next_one_begins_in_a_new_process(
    quick_row: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("capture failed")

    def restart(program: str, line: list[str]) -> None:
        begun.extend(line)
        raise gpu_row.OutOfTimeError

    monkeypatch.setattr(gpu_row.api, "train", broken)
    monkeypatch.setattr(os, "execv", restart)
    assert gpu_row.main(command(4, tmp_path)) == gpu_row.AGAIN
    assert begun[-2] == "--deadline"
    (failures,) = read_json(tmp_path / "runs" / "engines.json").values()
    assert failures[0]["engine"] == "folded" and failures[0]["error"] == "RuntimeError: capture failed"
    # The tiny scale knows one engine only.
    assert gpu_row.main(command(4, tmp_path)) == gpu_row.REFUSED


def test_engines_are_tried_in_order_and_a_begun_run_keeps_its_own(tmp_path: Path) -> None:
    engines = gpu_row.REAL.engines
    assert gpu_row.choose_engine(tmp_path, [], engines) == "step"
    assert gpu_row.choose_engine(tmp_path, [{"engine": "step"}, {"engine": "graph"}], engines) == "compiled"
    write_json(tmp_path / "config.json", gpu_row.make_experiment(gpu_row.ROWS[2][0], gpu_row.REAL, "graph").config())
    assert gpu_row.choose_engine(tmp_path, [], engines) == "graph"


def test_rows_follow_the_protocol() -> None:
    for arms in gpu_row.ROWS.values():
        for arm in arms:
            recipe = gpu_row.make_experiment(arm, gpu_row.REAL, "step").recipe
            assert recipe.name == "paper" and recipe.batch_size == 128 and recipe.attack.steps == 10
            assert recipe.precision == ("fp32" if arm.tag == "fp32" else "bf16")
    arms = [gpu_row.make_experiment(arm, gpu_row.REAL, "step").defense for arm in gpu_row.ROWS[1]]
    assert [(arm.alignment, arm.lambda_dpp) for arm in arms] == [("mean", 0.1), ("sum", 0.1), ("sum", 0.01)]


def test_autoattack_goes_on_from_piece_to_piece_and_its_precision_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu_row.ROWS, 3, (gpu_row.Arm("at", suites=("autoattack-quick",), weights=False),))
    monkeypatch.setattr(gpu_row, "TINY", replace(gpu_row.TINY, search_precision="bf16"))
    steps = []

    def stop(piece: Any, left: int, bound: float) -> None:
        steps.append(left)
        if len(steps) == 5:
            raise gpu_row.OutOfTimeError

    monkeypatch.setattr(gpu_row.Piece, "on_steps", stop)
    assert gpu_row.main(command(3, tmp_path)) == gpu_row.AGAIN
    stopped = read_json(tmp_path / "out" / "at" / "results.json")
    assert stopped["trained"] and stopped["missing_suites"] == ["autoattack-quick"]
    assert gpu_row.main(command(3, tmp_path)) == gpu_row.DONE
    found = read_json(tmp_path / "out" / "at" / "results.json")["eval"]["autoattack-quick"]
    assert found["search_precision"] == "bf16" and found["attacks"][0]["attacked"] > 0


def test_weights_split_into_small_parts_whose_union_is_the_state() -> None:
    weights = {f"w{i}": torch.rand(10, 10) for i in range(5)} | {"count": torch.tensor(3)}
    parts = list(gpu_row.pieces_of(weights, 450))
    assert [list(part) for part in parts] == [["w0", "w1"], ["w2", "w3"], ["w4", "count"]]
    assert all(sum(weight.nbytes for weight in part.values()) <= 450 for part in parts)
    assert parts[2]["count"].dtype == torch.int64 and parts[0]["w0"].dtype == torch.bfloat16


def test_a_resnet18_is_three_files_at_most() -> None:
    model = gpu_row.make_experiment(gpu_row.ROWS[2][0], gpu_row.REAL, "step").build()
    parts = list(gpu_row.pieces_of(model.state_dict(), gpu_row.PIECE_BYTES))
    assert len(parts) == 2
