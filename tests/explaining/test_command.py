"""`advdpnp explain` as a person uses it."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from advdpnp import cli
from advdpnp.runs import read_json
from explaining.networks import QUICK


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", "explain", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "photo.jpg"
    path.parent.mkdir()
    Image.new("RGB", (64, 48), (90, 120, 200)).save(path)
    return path


def test_a_photo_and_a_test_image_are_explained(
    bare: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call(monkeypatch, bare, photo, "test:3", "--attack", QUICK, "--neighbors", "1", "--out", out) == 0
    told = capsys.readouterr()
    assert "photo.jpg: " in told.out and "test:3: " in told.out and str(out / "index.html") in told.out
    assert "in a browser" in told.err
    assert {"index.html", "explain.png", "explain.json"} <= {path.name for path in out.iterdir()}


def test_json_is_what_is_stored(
    bare: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["--attack", QUICK, "--neighbors", 0, "--label", "7", "--out", tmp_path / "out", "--json"]
    assert call(monkeypatch, bare, photo, *how) == 0
    told = json.loads(capsys.readouterr().out)
    stored = read_json(tmp_path / "out/explain.json")
    assert told == {name: value for name, value in stored.items() if name != "files"}
    assert told["images"][0]["label"] == "7" and told["images"][0]["nearest_training"] == []


def test_a_broken_file_among_others_is_told_and_ends_with_status_2(
    bare: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = photo.with_name("broken.png")
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "out"
    assert call(monkeypatch, bare, photo.parent, "--attack", QUICK, "--neighbors", 0, "--out", out) == 2
    assert "images: 2, 1 of them not read" in capsys.readouterr().out
    assert "Not read: " in (out / "index.html").read_text()


def test_a_folder_in_the_place_of_a_file_leaves_all_as_it_was(
    bare: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "out" / "index.html"
    place.mkdir(parents=True)
    assert call(monkeypatch, bare, photo, "--out", place.parent) == 2
    assert f"a folder where a file should be, remove it: '{place}'" in capsys.readouterr().err
    assert [path.name for path in place.parent.iterdir()] == ["index.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "{images}/nowhere.png"], "no image at"),
        (["{run}", "{images}/no-image.png"], "no-image.png"),
        (["{run}", "test:99999"], "names images from 0 to"),
        (["{run}", "test:x"], "indices are"),
        (["{run}", "test:0-80"], "from 1 to 64 images"),
        (["{run}", "test:0", "--label", "3"], "images of the test set have labels"),
        (["{run}", "{photo}", "--label", "cat"], "label must be a class, by name or from 0 to 9; got 'cat'"),
        (["{run}", "{photo}", "--label", "1", "--label", "2"], "expected 1; got 2"),
        (["{run}", "{photo}", "--target", "10"], "target must be a class"),
        (["{run}", "{photo}", "--target", "3", "--attack", "pgd:target=4"], "aims at class 4 already"),
        (["{run}", "{photo}", "--attack", "nonsense"], "unknown attack"),
        (["{run}", "{photo}", "--norm", "l7"], "l7"),
        (["{run}", "{photo}", "--out", "{photo}"], "is a file"),
        (["{images}", "{photo}"], "is no run"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(
    arguments: list[str],
    message: str,
    bare: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (photo.parent / "no-image.png").write_text("no image")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    given = [text.format(run=bare, images=photo.parent, photo=photo) for text in arguments]
    assert call(monkeypatch, *given) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0] and lines[0].startswith("advdpnp: ")
    assert sorted(tmp_path.rglob("*")) == before
