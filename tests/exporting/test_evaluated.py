"""What was exported is evaluated as the run that it is of."""

import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import advdpnp
from advdpnp import api, cli, data
from advdpnp.external import ExternalModel
from advdpnp.runs import Json, read_json


@pytest.fixture(scope="module")
def exported(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "out"
    api.export(digits_run, out, ["safetensors", "torch-export"])
    return out


def verdicts(result: Json) -> list[str]:
    return [result["clean_verdicts"], *(attack["verdicts"] for attack in result["attacks"])]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.filterwarnings("ignore:clean accuracy")
def test_the_program_gets_the_verdicts_of_its_network(
    digits_run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    attacks = ["--attack", "pgd:steps=3,step_size=0.05", "--suite", "mine", "--limit", "100"]
    model = str(exported / "model.pt2")
    assert call(monkeypatch, "evaluate", "--model", model, "--data", "digits", "--device", "cpu", *attacks) == 0
    by_file = read_json(tmp_path / "runs/digits/model/foreign/seed-0/eval/mine.json")
    images = data.load("digits", "test")
    x, y = images.batch(torch.arange(100))

    # As a network of anyone: what is attacked is then not the folded copy, whose gradients round otherwise.
    network = torch.nn.Sequential(advdpnp.load(digits_run, device="cpu")).eval()
    program = torch.export.load(model)
    how: dict[str, Any] = {"suite": ["pgd:steps=3,step_size=0.05"], "eps": 0.1}
    expected = verdicts(advdpnp.evaluate(network, x, y, **how))
    assert verdicts(by_file) == expected
    assert verdicts(advdpnp.evaluate(program, x, y, **how)) == expected
    assert verdicts(advdpnp.evaluate(program.module(), x, y, **how)) == expected
    for source in (digits_run, exported):
        folder = shutil.copytree(source, tmp_path / "copies" / source.name)
        assert verdicts(advdpnp.evaluate(folder, "clean", limit=100, device="cpu"))[0] == expected[0]


def test_another_program_of_the_same_name_is_another_network(exported: Path, tmp_path: Path) -> None:
    spec, copy = data.spec("digits"), tmp_path / "model.pt2"
    copy.write_bytes((exported / "model.pt2").read_bytes())
    source = ExternalModel(str(exported / "model.pt2"))
    config = source.config(spec, source.open(spec)[0])
    assert (
        config["foreign"]["sha256"] == ExternalModel(str(copy)).config(spec, torch.nn.Identity())["foreign"]["sha256"]
    )
    program = torch.export.load(copy)
    weight = program.state_dict["head.prototypes"]
    weight.data.mul_(2)
    torch.export.save(program, copy)
    assert (
        config["foreign"]["sha256"] != ExternalModel(str(copy)).config(spec, torch.nn.Identity())["foreign"]["sha256"]
    )
    assert source.name == "model" and source.checkpoint == "model.pt2"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["OUT/model.pt2"], "it is a file. Give the folder OUT"),
        (["OUT/eval/quick.json"], "it is a file. Give the folder OUT"),
        (["--model", "OUT/model.pt2", "--weights", "OUT/model.safetensors"], "holds its weights"),
        (["--model", "OUT/model.pt2", "--model-arg", "depth=3"], "is a finished module"),
        (["--model", "OUT/none.pt2"], "no file at"),
        (["--model", "OUT/torn.pt2"], "is damaged"),
        (["--model", "OUT/text.pt2"], "is damaged, or no program"),
        (["--model", "OUT/double.pt2"], "computes in torch.float64 only"),
        (["--model", "OUT/model.safetensors"], "weights need the code of their network"),
        (["--model", "OUT/model.onnx"], "gives no gradients"),
        (["--model", "OUT"], "is a folder"),
        (["--model", "math:sqrt", "--weights", "OUT/model.pt2"], "a whole network: give it as --model"),
        (["--model", "math:sqrt", "--weights", "OUT/model.onnx"], "gives no gradients"),
    ],
)
def test_what_cannot_be_evaluated_says_what_can(
    arguments: list[str], line: str, exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(exported / "model.pt2") as whole, zipfile.ZipFile(exported / "torn.pt2", "w") as torn:
        for name in whole.namelist():
            content = whole.read(name)
            torn.writestr(name, content[: len(content) // 2] if name.endswith("model.json") else content)
    (exported / "text.pt2").write_text("no program")
    (exported / "model.onnx").write_bytes(b"onnx")
    double = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).double().eval()
    torch.export.save(torch.export.export(double, (torch.zeros(2, 1, 8, 8).double(),)), exported / "double.pt2")
    placed = [argument.replace("OUT", str(exported)) for argument in arguments]
    data_set = ["--data", "digits"] if "--model" in placed else []
    assert call(monkeypatch, "evaluate", *placed, *data_set, "--device", "cpu") == 2
    said = capsys.readouterr().err.strip()
    assert line.replace("OUT", str(exported)) in said and "\n" not in said
