"""`advdpnp evaluate` as a stranger uses it: own code, own weights, one clear line when something is wrong."""

import argparse
import csv
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp import api, cli
from advdpnp.data import SPECS
from advdpnp.experiments import experiment
from advdpnp.runs import read_json
from external.networks import trained

CODE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=10, mean=0.0, std=1.0):
        super().__init__()
        self.linear = nn.Linear(64, num_classes)
        self.drop = nn.Dropout()
        self.mean, self.std = mean, std

    def forward(self, x):
        return self.drop(self.linear((x * self.std + self.mean).flatten(1)))
"""
MODEL = ["--model", "strange_project:Net", "--weights", "w.pt", "--data", "digits"]
PGD = ["--attack", "pgd:eps=0.1,steps=3,step_size=0.05"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder, as the current one: code, and weights of a DataParallel network in the old format."""
    (tmp_path / "strange_project.py").write_text(CODE)
    state = torch.nn.DataParallel(trained()).state_dict()
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "strange_project", raising=False)
    return tmp_path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of ours with untrained weights."""
    settings = ("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=0", "recipe.attack.steps=1")
    return api.train(experiment("digits/tiny/at", settings=settings), tmp_path / "runs").folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("advdpnp: ")]
    assert len(lines) == 1
    return lines[0]


def stored(path: str) -> Any:
    return read_json(Path(path))


FOLDER = "runs/digits/Net/foreign/seed-0"


def test_a_network_is_evaluated_and_stored_like_a_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "evaluate", *MODEL, *PGD, "--limit", "60", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result == stored(f"{FOLDER}/eval/custom.json") and result["warnings"] == []
    assert result["model"] == "Net" and result["checkpoint"] == "w.pt" and result["clean_accuracy"] > 0.8
    config = stored(f"{FOLDER}/config.json")["foreign"]
    assert config["model"] == "strange_project:Net" and len(config["sha256"]) == 64
    assert {p.name for p in Path(FOLDER).iterdir()} == {"config.json", "environment.json", "eval"}
    assert call(monkeypatch, "evaluate", *MODEL, "--suite", "pgd20", "--eps", "0.05", "--limit", "20") == 0
    assert capsys.readouterr().out.endswith(f"{FOLDER}\n")
    assert stored(f"{FOLDER}/eval/pgd20-eps-0.05.json")["attacks"][0]["eps"] == "0.05"


def test_normalization_and_arguments_are_part_of_the_network(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model-arg", "mean=0.3", "--model-arg", "std=0.38"]
    normalized = [*arguments, "--mean", "0.3", "--std", "0.38", "--name", "normalized"]
    for options in ([], normalized):
        assert call(monkeypatch, "evaluate", *MODEL, *PGD, "--limit", "60", *options) == 0
    one, other = (stored(f"runs/digits/Net/foreign{tag}/seed-0/eval/custom.json") for tag in ("", "+normalized"))
    assert one["clean_verdicts"] == other["clean_verdicts"]
    capsys.readouterr()
    assert call(monkeypatch, "compare", FOLDER, "runs/digits/Net/foreign+normalized/seed-0", "--suite", "custom") == 0
    assert "only first" in capsys.readouterr().out


def test_other_weights_or_attacks_do_not_take_the_place_of_the_first(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "evaluate", *MODEL, *PGD, "--limit", "20") == 0
    before = {path: path.read_bytes() for path in Path("runs").rglob("*.json")}
    state = trained().state_dict()
    torch.save({**state, "linear.bias": state["linear.bias"] + 1}, "v.pt")
    capsys.readouterr()
    assert call(monkeypatch, "evaluate", *MODEL, *PGD, "--weights", "v.pt") == 2
    text = said(capsys)
    assert "foreign.weights: w.pt, not v.pt; foreign.sha256:" in text and "--name" in text
    assert call(monkeypatch, "evaluate", *MODEL, "--attack", "fgsm", "--limit", "20") == 2
    assert "holds other attacks: call yours something else with --suite" in said(capsys)
    assert {path: path.read_bytes() for path in Path("runs").rglob("*.json")} == before
    assert call(monkeypatch, "evaluate", *MODEL, "--attack", "fgsm", "--suite", "fast", "--limit", "20") == 0


def test_an_interrupted_evaluation_of_a_network_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from advdpnp.evaluation import single_pass

    judged, judge = [], single_pass.attacked

    def stop_at_fourth(*arguments: Any) -> Any:
        judged.append(1)
        if len(judged) == 5:
            raise KeyboardInterrupt
        return judge(*arguments)

    monkeypatch.setattr("advdpnp.evaluation.single_pass.attacked", stop_at_fourth)
    assert call(monkeypatch, "evaluate", *MODEL, *PGD) == 130
    assert Path(f"{FOLDER}/eval/custom.partial.json").exists()
    other = ["--attack", "pgd:eps=0.1,steps=3,step_size=0.04"]
    assert call(monkeypatch, "evaluate", *MODEL, *other, "--resume") == 2
    assert call(monkeypatch, "evaluate", *MODEL, *PGD, "--resume") == 0
    # Three clean chunks and three attacked ones, one of them twice.
    assert len(judged) == 7
    resumed = stored(f"{FOLDER}/eval/custom.json")
    assert call(monkeypatch, "evaluate", *MODEL, *PGD) == 0
    whole = stored(f"{FOLDER}/eval/custom.json")
    assert resumed["attacks"][0]["verdicts"] == whole["attacks"][0]["verdicts"]


def test_a_warning_is_printed_and_stored(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({name: tensor.half() for name, tensor in trained().state_dict().items()}, "w.pt")
    # What an interpreter without pytest does with warnings.
    monkeypatch.setattr("warnings.warn", lambda text, **_: print(f"warning: {text}", file=sys.stderr))
    assert call(monkeypatch, "evaluate", *MODEL, *PGD, "--limit", "20") == 0
    assert "warning: weights are stored as torch.float16" in capsys.readouterr().err
    assert len(stored(f"{FOLDER}/eval/custom.json")["warnings"]) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "either the folder of a run, or --model"),
        (["runs", *MODEL], "either the folder of a run, or --model"),
        (["runs", "--weights", "w.pt"], "are for --model, not a run"),
        (MODEL[:4], "--model needs --data"),
        ([*MODEL, "--checkpoint", "best"], "--checkpoint chooses among a run's weights"),
        ([*MODEL, "--data", "digit"], "Did you mean digits?"),
        ([*MODEL, "--weights", "nowhere.pt"], "no weights file at nowhere.pt"),
        ([*MODEL, "--weights", "strange_project.py"], "no weights file"),
        ([*MODEL, "--model-arg", "num_classes=7"], "2 of another shape"),
        ([*MODEL, "--mean", "0.1"], "--mean and --std go together"),
        ([*MODEL, "--mean", "0.1,x", "--std", "1,1"], "--mean must be numbers with commas"),
        ([*MODEL, "--mean", "0,0,0", "--std", "1,1,1"], "one number or 1, one for each channel of digits; got 3"),
        ([*MODEL, "--suite", "quik"], "nearest: quick"),
        ([*MODEL, "--attack", "pgd", "--suite", "quick"], "a name of their own"),
        ([*MODEL, "--attack", "pgd:step=3"], "unknown field pgd.step; nearest: step"),
        ([*MODEL, "--eps", "a/b"], "a budget is a number or a fraction"),
        ([*MODEL, "--limit", "361"], "--limit must be from 1 to 360"),
        ([*MODEL, "--name", "a/b"], "--name must be letters"),
        ([*MODEL, "--weights-key", "ema"], "there are: state_dict"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    arguments: list[str],
    message: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "evaluate", *arguments) == 2
    assert message in said(capsys)
    assert not Path("runs").exists()


def test_runs_take_attacks_by_hand_another_radius_and_another_test_set(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SPECS, "digits/again", replace(SPECS["digits"], name="digits/again"))
    here = ["evaluate", str(run), "--limit", "20"]
    assert call(monkeypatch, *here, *PGD, "--suite", "mine") == 0
    assert call(monkeypatch, *here, "--suite", "pgd20", "--eps", "0.2") == 0
    assert call(monkeypatch, *here, "--suite", "pgd20", "--data", "digits/again") == 0
    assert call(monkeypatch, *here, "--suite", "pgd20", "--data", "digits") == 0
    names = {path.name for path in (run / "eval").glob("*.json")}
    assert names == {"mine.json", "pgd20-eps-51-255.json", "pgd20@digits-again.json", "pgd20.json"}
    on_other = stored(str(run / "eval/pgd20@digits-again.json"))
    assert on_other["data"] == "digits/again" and on_other["suite"] == "pgd20"
    capsys.readouterr()
    assert call(monkeypatch, *here, "--data", "mnist") == 2
    assert "trained on images of (1, 8, 8) (digits), but mnist has (1, 28, 28)" in said(capsys)


def test_a_network_s_folder_is_no_classifier_of_ours_and_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, "evaluate", *MODEL, *PGD, "--limit", "20") == 0
    for use in (api.load, api.evaluate):
        with pytest.raises(ValueError, match="results of strange_project:Net, not a classifier of ours"):
            use(FOLDER)


def test_the_report_shows_a_network_beside_our_runs(project: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPECS, "digits/again", replace(SPECS["digits"], name="digits/again"))
    for options in ([str(run)], MODEL, [str(run), "--data", "digits/again"]):
        assert call(monkeypatch, "evaluate", *options, *PGD, "--limit", "20") == 0
    assert call(monkeypatch, "evaluate", *MODEL, "--suite", "curve", "--limit", "20") == 0
    assert call(monkeypatch, "report", "runs", "--out", "page") == 0
    with Path("page/results.csv").open() as file:
        rows = [(row["data"], row["backbone"], row["method"], row["attack"]) for row in csv.DictReader(file)]
    clean = [row[:3] for row in rows if row[3] == "Clean"]
    assert clean == [("digits", "tiny", "AT"), ("digits", "Net", "Net"), ("digits/again", "tiny", "AT")]
    page = Path("page/index.html").read_text()
    assert "strange_project:Net()" in page and "digits/tiny on digits/again: accuracy under the custom suite" in page
    assert "a network from elsewhere, whose training is not known here" in page
    assert call(monkeypatch, "report", "runs/digits/Net", "--out", "alone") == 0


OWN = """
import torch
from strange_project import Net

def ready():
    net = Net()
    state = torch.load("w.pt", weights_only=True)["state_dict"]
    net.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    return net
"""


def test_a_network_without_weights_is_refused_and_each_cure_works(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "strange_own.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "strange_own", raising=False)
    monkeypatch.setattr("warnings.warn", lambda text, **_: print(f"warning: {text}", file=sys.stderr))
    without = ["evaluate", "--model", "strange_project:Net", "--data", "digits", *PGD, "--limit", "60"]
    assert call(monkeypatch, *without) == 2
    assert said(capsys) == (
        "advdpnp: strange_project:Net is given no weights, so it may be random: give --weights FILE, or --own-weights "
        "if it loads them itself, or --untrained to attack it with random weights"
    )
    assert not Path("runs").exists()
    own = ["evaluate", "--model", "strange_own:ready", "--data", "digits", *PGD, "--limit", "60"]
    assert call(monkeypatch, *own, "--own-weights") == 0
    result = stored("runs/digits/ready/foreign/seed-0/eval/custom.json")
    assert result["clean_accuracy"] > 0.8 and result["checkpoint"] == "as built" and result["warnings"] == []
    # Twice: random weights are the same ones when they are asked for again.
    for _ in range(2):
        assert call(monkeypatch, *without, "--untrained") == 0
    result = stored(f"{FOLDER}/eval/custom.json")
    assert result["checkpoint"] == "untrained" and "untrained" in result["warnings"][0]
    assert "normalization" not in " ".join(result["warnings"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([*MODEL, "--untrained"], "are for a network without --weights"),
        ([*MODEL, "--own-weights"], "are for a network without --weights"),
        ([*MODEL[:2], *MODEL[4:], "--own-weights", "--untrained"], "contradict each other"),
        (["runs", "--untrained"], "are for --model, not a run"),
    ],
)
def test_options_that_say_two_things_of_the_weights_are_refused(
    arguments: list[str],
    message: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "evaluate", *arguments) == 2
    assert message in said(capsys)


def test_a_checkpoint_with_objects_is_converted_by_the_command_that_its_refusal_names(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {f"model.{name}": tensor for name, tensor in trained().state_dict().items()}
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1)}, "my run.ckpt")
    evaluate = ["evaluate", "--model", "strange_project:Net", "--data", "digits", *PGD, "--limit", "20", "--weights"]
    assert call(monkeypatch, *evaluate, "my run.ckpt") == 2
    command = said(capsys).split("`")[1]
    assert command == "advdpnp weights convert 'my run.ckpt'"
    assert call(monkeypatch, *shlex.split(command)[1:]) == 0
    assert "left out: args (argparse.Namespace)" in capsys.readouterr().out
    assert call(monkeypatch, *evaluate, "my run.safetensors") == 0
    assert "weights: model of my run.safetensors, 2 entries\n" in capsys.readouterr().err
    assert stored(f"{FOLDER}/eval/custom.json")["clean_accuracy"] > 0.8
    assert call(monkeypatch, "weights", "convert", "my run.ckpt") == 2
    assert "is there already" in said(capsys)
    assert call(monkeypatch, "weights", "convert", "my run.ckpt", "--out", "b.safetensors", "--json") == 0
    assert json.loads(capsys.readouterr().out)["keys"] == ["."]
