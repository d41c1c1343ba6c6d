"""What a result file says of the machine and of the code."""

import sys
from pathlib import Path

import pytest
import torch

from advdpnp import api
from advdpnp.api.environment import check_environment, cudnn_benchmark, environment
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
