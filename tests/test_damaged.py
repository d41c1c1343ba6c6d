"""Whatever is wrong with a stored file, a command ends with one line that names it, and exit status 2."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from advdpnp import api, cli
from advdpnp.experiments import experiment
from advdpnp.runs import list_runs
from advdpnp.weights_file import weights_bytes

SETTINGS = ("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=40", "recipe.attack.steps=1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = api.train(experiment("digits/tiny/at", settings=SETTINGS), tmp_path_factory.mktemp("runs"), device="cpu")
    api.evaluate(run.folder, ["fgsm"], suite_name="quick-look", limit=20, device="cpu")
    return run.folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "seed-0")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def changed(path: Path, *keys: Any, **values: Any) -> None:
    """Remove the key at the end of a path of keys, or set values there."""
    content = json.loads(path.read_text())
    inside = content
    for key in keys if values else keys[:-1]:
        inside = inside[key]
    if values:
        inside.update(values)
    else:
        del inside[keys[-1]]
    # As whoever edits a file by hand.
    content.pop("sha256", None)
    path.write_text(json.dumps(content))


CONFIGS: dict[str, Callable[[Path], Any]] = {
    "no object": lambda path: path.write_text("[]"),
    "no defense": lambda path: changed(path, "defense"),
    "a text for the defense": lambda path: changed(path, defense="at"),
    "no recipe": lambda path: changed(path, "recipe"),
    "a number for the backbone": lambda path: changed(path, backbone=3),
    "no seed": lambda path: changed(path, "seed"),
    "null for the seed": lambda path: changed(path, seed=None),
    "an unknown field": lambda path: changed(path, further=1),
    "half of a data set": lambda path: changed(path, data={"name": "x"}),
    "a number for a network from elsewhere": lambda path: changed(path, foreign=3),
}


@pytest.mark.parametrize("damage", CONFIGS.values(), ids=CONFIGS)
def test_a_damaged_configuration_is_named(
    damage: Callable[[Path], Any], run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(run / "config.json")
    for arguments in (("evaluate", run), ("predict", run, __file__), ("export", run, "--out", run.parent / "out")):
        assert call(monkeypatch, *arguments) == 2
        line = capsys.readouterr().err.strip()
        assert f"{run / 'config.json'}" in line and "\n" not in line
    assert not (run.parent / "out").exists()


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, str]], Any]) -> None:
    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    change(tensors, metadata)
    if "sha256" in metadata.get("advdpnp", ""):
        facts = json.loads(metadata["advdpnp"])
        facts.pop("sha256")
        path.write_bytes(weights_bytes(tensors, facts))
    else:
        save_file(tensors, path, metadata)


WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor], dict[str, str]], Any], str]] = {
    "a tensor less": (lambda tensors, _: tensors.pop("head.linear.bias"), "does not fit the network of its run"),
    "a tensor more": (lambda tensors, _: tensors.update(more=torch.zeros(1)), "does not fit the network of its run"),
    "another shape": (
        lambda tensors, _: tensors.update({"head.linear.bias": torch.zeros(3)}),
        "does not fit the network of its run",
    ),
    "a note that is no JSON": (lambda _, metadata: metadata.update(advdpnp="no JSON"), "is damaged"),
    "a note that is a list": (lambda _, metadata: metadata.update(advdpnp="[]"), "is damaged"),
    "half a note": (lambda _, metadata: metadata.update(advdpnp='{"epoch": 1}'), "does not say which run it is of"),
    "no note": (lambda _, metadata: metadata.clear(), "does not say which run it is of"),
}


@pytest.mark.parametrize(("change", "words"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_are_not_the_runs_are_named(change: Any, words: str, run: Path) -> None:
    path = run / "checkpoints" / "last.safetensors"
    rewritten(path, change)
    with pytest.raises(ValueError, match=words) as error:
        api.load(run, device="cpu")
    assert str(path) in str(error.value) and "\n" not in str(error.value)


RESULTS: dict[str, Callable[[Path], Any]] = {
    "no attacks": lambda path: changed(path, "attacks"),
    "null for the attacks": lambda path: changed(path, attacks=None),
    "numbers for the attacks": lambda path: changed(path, attacks=[3]),
    "a text for n": lambda path: changed(path, n="x"),
    "no images": lambda path: changed(path, n=0),
    "a number for the suite": lambda path: changed(path, suite=3),
    "null for the data": lambda path: changed(path, data=None),
    "more than all images right": lambda path: changed(path, clean_accuracy=1.5),
    "NaN for an accuracy": lambda path: changed(path, "attacks", 0, robust_accuracy=float("nan")),
    "no finite radius": lambda path: changed(path, "attacks", 0, eps="1/0"),
    "a text for steps": lambda path: changed(path, "attacks", 0, steps="x"),
    "a number for the environment": lambda path: changed(path, environment=3),
    "a number for the geometry": lambda path: changed(path, geometry=3),
    "a number for the seeds": lambda path: changed(path, seeds=3),
}


@pytest.mark.parametrize("damage", RESULTS.values(), ids=RESULTS)
def test_a_damaged_result_is_named(
    damage: Callable[[Path], Any], run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "eval" / "quick-look.json"
    damage(path)
    assert call(monkeypatch, "export", run, "--out", run.parent / "out") == 2
    line = capsys.readouterr().err.strip()
    assert f"{path} is damaged" in line and "\n" not in line
    assert not (run.parent / "out").exists()
    assert call(monkeypatch, "report", run, "--out", run.parent / "out") == 0
    said, *_ = capsys.readouterr().err.splitlines()
    assert said.startswith(f"advdpnp: left out: {path} is damaged")


@pytest.mark.parametrize("name", ["attacks", "n", "clean_verdicts"])
def test_a_comparison_with_a_damaged_result_is_one_line(name: str, run: Path, whole: Path) -> None:
    changed(run / "eval" / "quick-look.json", name)
    with pytest.raises(ValueError, match=r"is damaged or no|has no .clean_verdicts., as results of earlier versions"):
        api.compare(run, whole, "quick-look")


def test_an_export_says_which_checkpoint_it_is_and_holds_no_other(run: Path, tmp_path: Path) -> None:
    for which in ("last", "best"):
        api.export(run, tmp_path / which, checkpoint=which)
    result = api.evaluate(tmp_path / "best", "clean", limit=10, device="cpu")
    assert result["checkpoint"] == "best"
    assert api.evaluate(tmp_path / "last", "clean", limit=10, device="cpu")["checkpoint"] == "last"
    x = torch.zeros(1, 1, 8, 8)
    assert api.predict(tmp_path / "best", x, neighbors=0, device="cpu").checkpoint == "best"
    for ask in (api.load, lambda out, which: api.export(out, tmp_path / "again", checkpoint=which)):
        with pytest.raises(ValueError, match="an export of the checkpoint last alone"):
            ask(tmp_path / "last", "best")


def test_a_report_takes_an_exported_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "anything"
    api.export(run, out)
    assert list_runs(out) == [out] and list_runs(tmp_path) == [run]
    assert call(monkeypatch, "report", out, "--out", tmp_path / "page") == 0


def test_a_result_with_empty_verdicts_is_named_by_compare(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(run / "eval/quick-look.json", clean_verdicts="")
    assert call(monkeypatch, "compare", run, run, "--suite", "quick-look") == 2
    assert f"quick-look of {run}" in (told := capsys.readouterr().err) and "has no 'clean_verdicts'" in told


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("quick-look.json", ("evaluate", "--attack", "fgsm", "--suite", "quick-look", "--limit", 20)),
        ("ood/ood.json", ("ood", "--against", "uniform-noise", "--limit", 20)),
        ("audit.json", ("audit", "--limit", 20)),
        ("projection.npz", ("illustrate", "--attack", "fgsm", "--limit", 20)),
    ],
)
def test_a_folder_in_a_files_place_is_told_before_the_work(
    file: str, command: tuple[Any, ...], run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = run / "eval" / file
    place.unlink(missing_ok=True)
    place.mkdir(parents=True)
    before = sorted(run.rglob("*"))
    assert call(monkeypatch, command[0], run, *command[1:], "--device", "cpu") == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("advdpnp: ")]
    assert len(told) == 1 and "a folder where a file should be, remove it" in told[0] and str(place) in told[0]
    # Neither was anything attacked, which would leave an unfinished evaluation, nor written.
    assert sorted(run.rglob("*")) == before
