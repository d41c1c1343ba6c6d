"""`advdpnp ood` as a person uses it: what it stores, keeps and refuses."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import advdpnp
from advdpnp.report import write_report
from advdpnp.runs import Json, read_json
from commands import call, train_quickly

SMALL = ["--limit", "40", "--attack", "pgd:steps=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_quickly(tmp_path_factory.mktemp("runs"))


def stored(run: Path) -> Json:
    found: Json = read_json(run / "eval/ood/ood.json")
    return found


def without_seconds(result: Json) -> Json:
    rows = {name: [{**row, "seconds": 0} for row in result[name]] for name in ("outside", "accepting")}
    return {**result, **rows, "environment": {}}


def test_noise_and_a_folder_against_the_test_images(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in range(3):
        Image.fromarray(np.full((20, 30, 3), 40 * place, np.uint8)).save(tmp_path / f"{place}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert call("ood", str(run), *SMALL, "--against", f"folder:{tmp_path}", "--against", "uniform-noise") == 0
    told = capsys.readouterr()
    first, second = stored(run)["outside"]
    assert (first["n"], first["conversion"]) == (3, "color made gray")
    assert first["remarks"] == ["1 of 4 files cannot be read, and are left out"]
    assert (second["name"], second["n"], list(second["scores"])) == (
        "uniform-noise", 40, ["distance", "angle", "max-softmax", "max-logit", "energy"]
    )  # fmt: skip
    assert [row["attack"] and row["attack"]["name"] for row in stored(run)["accepting"]] == [None, "pgd"]
    assert "against uniform-noise, 40 images" in told.out and f"advdpnp report {run}" in told.err
    # Evaluations of the run are read as before.
    page = write_report([run], tmp_path / "page").read_text()
    assert "Images from outside" in page and "FPR at 95 % TPR" in page
    assert (tmp_path / "page/figures/outside-1-digits-tiny-adv-dpnp-seed-0.svg").is_file()


def test_the_same_call_gives_the_same_numbers_and_keeps_other_rows(run: Path) -> None:
    for name in ("gaussian-noise", "uniform-noise"):
        advdpnp.ood(run, name, limit=30, attack="pgd:steps=1")
    assert [row["name"] for row in stored(run)["outside"]] == ["uniform-noise", "gaussian-noise"]
    before = without_seconds(stored(run))
    again = advdpnp.ood(run, ["uniform-noise", "gaussian-noise"], limit=30, attack="pgd:steps=1")
    assert without_seconds(again) == before == without_seconds(stored(run))


def test_what_is_found_before_an_interruption_is_not_measured_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import advdpnp.evaluation.outside as module

    counted: list[str] = []
    measure = module.OutsideMeasurement.against

    def interrupted(self: module.OutsideMeasurement, outside: object, n: int, remarks: list[str]) -> object:
        counted.append(outside.name)  # type: ignore[attr-defined]
        if len(counted) == 2:
            raise KeyboardInterrupt
        return measure(self, outside, n, remarks)  # type: ignore[arg-type]

    monkeypatch.setattr(module.OutsideMeasurement, "against", interrupted)
    arguments = ["ood", str(run), "--limit", "20", "--attack", "pgd:steps=1"]
    arguments += ["--against", "uniform-noise", "--against", "gaussian-noise"]
    assert call(*arguments) == 130
    assert "--resume" in capsys.readouterr().err
    assert call(*arguments, "--resume") == 0
    assert counted == ["uniform-noise", "gaussian-noise", "gaussian-noise"]
    assert "uniform-noise: measured before" in capsys.readouterr().err
    assert stored(run)["n"] == 20 and len(stored(run)["outside"]) == 2
    assert [path.name for path in (run / "eval/ood").iterdir()] == ["ood.json"]


def test_a_data_set_of_the_same_classes_is_named(run: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    other = advdpnp.given({"test": (images, np.arange(20) % 10)}, class_names=list("0123456789"))
    found = advdpnp.ood(run, other, limit=20, attack="pgd:steps=1")
    (row,) = [row for row in found["outside"] if row["name"] == other.name]
    assert [line.partition(":")[0] for line in row["remarks"]] == [
        "10 of its 10 classes are classes of digits too (0, 1, 2, ...)"
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--against", "digits"], "digits is what the network was trained on"),
        (["--against", "cifar11"], "unknown data set 'cifar11'"),
        (["--against", "folder:/nowhere"], "no folder of images at /nowhere"),
        (["--against", "uniform-noise", "--against", "uniform-noise"], "uniform-noise twice"),
        (["--attack", "pdg"], "unknown attack 'pdg'"),
        (["--limit", "99999"], "--limit must be from 1 to 360"),
        (["--eps", "8"], "eps"),
        (["--mean", "0.5"], "are for --model, not a run"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_stored(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((path.name, path.read_bytes()) for path in (run / "eval").rglob("*.json"))
    assert call("ood", str(run), *arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("advdpnp: ")]
    assert len(lines) == 1 and message in lines[0]
    assert sorted((path.name, path.read_bytes()) for path in (run / "eval").rglob("*.json")) == before


def test_a_damaged_result_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "eval/ood/ood.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = path.read_text() if path.is_file() else None
    path.write_text('{"schema": 1}')
    assert call("ood", str(run), *SMALL, "--against", "uniform-noise") == 2
    assert "ood.json is damaged" in capsys.readouterr().err
    path.unlink() if kept is None else path.write_text(kept)


def test_a_network_of_ones_own_is_stored_as_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = tmp_path / "net.py"
    code.write_text(
        "import torch\n\n\ndef net():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    arguments = ["--model", f"{code}:net", "--untrained", "--data", "digits", "--out", str(tmp_path / "runs")]
    assert call("ood", *arguments, *SMALL, "--against", "uniform-noise") == 0
    assert "no distance and no angle" in capsys.readouterr().out
    assert (tmp_path / "runs/digits/net/foreign/seed-0/eval/ood/ood.json").is_file()
