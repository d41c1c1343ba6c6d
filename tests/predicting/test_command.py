"""`advdpnp predict` as a person uses it."""

import json
import sys
from pathlib import Path

import pytest

from advdpnp import cli


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", "predict", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_a_folder_is_told_and_drawn(
    finished: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "out.png"
    assert call(monkeypatch, finished, folder, "--picture", picture) == 0
    text = capsys.readouterr().out
    assert text.count("ziffer-") == 6 and "nearest to the prototype of" in text and picture.stat().st_size > 5000


def test_json_is_what_python_gets(
    finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from advdpnp import api

    assert call(monkeypatch, finished, folder, "--json", "--top", "2", "--no-neighbors") == 0
    assert json.loads(capsys.readouterr().out) == api.predict(finished, folder, top=2, neighbors=0).json()


def test_a_broken_file_among_others_is_told_and_ends_with_status_2(
    finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = folder / "part 0" / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert call(monkeypatch, finished, folder, "--no-neighbors") == 2
    text = capsys.readouterr().out
    assert "images: 7, 1 of them not read" in text and text.count("%") > 6
    assert call(monkeypatch, finished, broken, folder / "part 1", "--json", "--no-neighbors") == 2
    assert "error" in json.loads(capsys.readouterr().out)["images"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "{folder}/broken.png"], "broken.png"),
        (["{run}", "{folder}/nowhere.png"], "no image at"),
        (["{run}", "{folder}", "--picture", "out.gif"], "must end in"),
        (["{folder}", "{folder}"], "is no run"),
        (["{run}", "{folder}", "--checkpoint", "first"], "last or best"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(
    arguments: list[str],
    message: str,
    finished: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "broken.png").write_text("no image")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert call(monkeypatch, *(text.format(run=finished, folder=folder) for text in arguments)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0] and lines[0].startswith("advdpnp: ")
    assert sorted(tmp_path.rglob("*")) == before
