"""What a result file says of the machine and of the code."""

import os
import sys
from pathlib import Path

import pytest
import torch

from advdpnp import api
from advdpnp.api.environment import check_environment, cudnn_benchmark, deterministic, environment
from advdpnp.runs import Run, read_json, write_json
from training.small import small_experiment

# The package exports a function of the module's name.
MODULE = sys.modules["advdpnp.api.environment"]
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "named, head, changes, wanted",
    [
        ("abc123", "", "", ("abc123", False)),
        # Copied into another history: neither its commit nor what differs from that one says anything.
        ("abc123", "def456", " M setup.py", ("abc123", False)),
        ("abc123+", "def456", "", ("abc123", True)),
        ("def456", "def456", " M setup.py", ("def456", True)),
        ("def", "def456", "", ("def456", False)),
        ("", "def456", " M setup.py", ("def456", True)),
        ("", "", "", ("", False)),
    ],
)
def test_the_commit_that_is_named_wins_over_git(
    named: str, head: str, changes: str, wanted: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVDPNP_COMMIT", named)
    monkeypatch.setattr(MODULE, "_git", lambda *arguments: head if arguments[0] == "rev-parse" else changes)
    found = environment(CPU)
    assert (found["commit"], found["dirty"]) == wanted


def test_without_either_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADVDPNP_COMMIT", raising=False)
    monkeypatch.setattr(MODULE, "_git", lambda *arguments: "")
    assert environment(CPU)["commit"] == ""


def test_trying_cudnns_algorithms_is_recorded_and_undone_even_after_an_error() -> None:
    assert environment(CPU)["cudnn_benchmark"] is False
    with pytest.raises(RuntimeError), cudnn_benchmark(True):
        assert environment(CPU)["cudnn_benchmark"] is True
        raise RuntimeError
    assert torch.backends.cudnn.benchmark is False


@pytest.mark.parametrize("wanted", [False, True])
def test_a_trained_run_says_whether_cudnn_tried(wanted: bool, tmp_path: Path) -> None:
    run = api.train(small_experiment("st", "recipe.epochs=1"), tmp_path, device="cpu", benchmark_cudnn=wanted)
    assert read_json(run.folder / "environment.json")["cudnn_benchmark"] is wanted
    assert torch.backends.cudnn.benchmark is False


def test_a_resume_in_another_environment_warns_and_one_from_an_older_version_does_not(tmp_path: Path) -> None:
    run = Run(tmp_path)
    older = {key: value for key, value in environment(CPU).items() if key != "cudnn_benchmark"}
    write_json(run.folder / "environment.json", older)
    check_environment(run, environment(CPU))
    write_json(run.folder / "environment.json", environment(CPU) | {"cudnn_benchmark": True})
    with pytest.warns(UserWarning, match="cudnn_benchmark True -> False"):
        check_environment(run, environment(CPU))


def test_deterministic_algorithms_are_recorded_and_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert "deterministic" not in environment(CPU)
    with deterministic():
        assert environment(CPU)["deterministic"] is True and torch.backends.cudnn.deterministic
        # What the documentation of cuBLAS asks for.
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "deterministic" not in environment(CPU) and not torch.backends.cudnn.deterministic
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_a_deterministic_algorithm_is_named() -> None:
    with (
        pytest.raises(
            ValueError, match=r"put_.* has no deterministic algorithm .*: leave --deterministic out"
        ) as error,
        deterministic(),
    ):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))
    assert "\n" not in str(error.value) and not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="another"), deterministic():
        raise RuntimeError("another")


def test_a_workspace_that_is_not_repeatable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with pytest.raises(ValueError, match="CUBLAS_WORKSPACE_CONFIG must be :4096:8"), deterministic():
        pass


def test_a_resume_with_other_algorithms_is_told(tmp_path: Path) -> None:
    check_environment(Run(tmp_path), environment(CPU))
    with deterministic(), pytest.warns(UserWarning, match="deterministic False -> True"):
        check_environment(Run(tmp_path), environment(CPU))


def test_on_a_cpu_they_change_no_bit(tmp_path: Path) -> None:
    runs = [api.train(small_experiment("st", "recipe.epochs=1"), tmp_path / "a", device="cpu")]
    with deterministic():
        runs.append(api.train(small_experiment("st", "recipe.epochs=1"), tmp_path / "b", device="cpu"))
    first, second = (run.weights_path("last").read_bytes() for run in runs)
    assert first == second
