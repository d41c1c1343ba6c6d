import json
import sys
from pathlib import Path

import pytest

from advdpnp import api, cli
from advdpnp.exporting import Unavailable, chosen

from .conftest import make_exported, make_run


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_all_leaves_out_what_cannot_be_had_and_says_why(tmp_path: Path) -> None:
    names, left_out = chosen(["all"], make_exported(make_run(tmp_path, "digits/tiny/at")))
    assert "robustbench" not in names and {"safetensors", "torch-export"} <= set(names)
    assert left_out["robustbench"].startswith("its networks take images of 3x32x32; got 1x8x8")


def test_a_format_asked_for_by_name_is_never_left_out(tmp_path: Path) -> None:
    exported = make_exported(make_run(tmp_path, "digits/tiny/at"))
    for names in (["robustbench"], ["all", "robustbench"]):
        with pytest.raises(Unavailable, match="choose another format"):
            chosen(names, exported)


@pytest.mark.parametrize(
    "names, message", [(["onxx"], "Did you mean onnx?"), ([], "at least one format")], ids=["unknown", "none"]
)
def test_unknown_or_no_formats_are_refused(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        chosen(names, make_exported(make_run(tmp_path, "digits/tiny/at")))


def test_without_test_images_noise_is_used_and_the_card_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "mnist/tiny/at")
    api.export(run.folder, tmp_path / "out", ["torch-export"], data_root=tmp_path)
    assert "256 of 256 random images (the test images were not at hand)" in (tmp_path / "out/README.md").read_text()


def test_the_command_lists_files_and_what_was_checked(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["export", str(digits_run), "--out", str(out), "--format", "safetensors", "--format", "torch-export"]
    assert call(monkeypatch, *arguments) == 0
    text = capsys.readouterr().out
    assert "model.pt2: same class as the classifier on 360 of 360 test images of digits" in text
    assert call(monkeypatch, *arguments, "--json", "--license", "CC0-1.0") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["out"] == str(out) and all(len(file["sha256"]) == 64 for file in answer["files"])
    assert "weights: CC0-1.0" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--format", "robustbench"], "images of 3x32x32"),
        (["--format", "pickle"], "expected all or one of"),
        (["--checkpoint", "first"], "last or best"),
        (["--device", "cuda"], "made on the CPU"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    options: list[str],
    message: str,
    digits_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "export", str(digits_run), "--out", str(tmp_path / "out"), *options) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0] and not (tmp_path / "out").exists()
