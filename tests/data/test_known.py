"""A run on a folder evaluates the images that it knows, whatever became of the folder, and says what."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import advdpnp
from advdpnp import experiment_on, folder_spec
from advdpnp.api import train
from advdpnp.cli import app
from advdpnp.data import FolderSpec, KnownImages, data_root, find_known, known_images, load
from advdpnp.runs import Run, read_json, write_json
from data.pictures import write

QUICK = ["recipe.epochs=1", "recipe.attack.steps=1"]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path / "data"))
    return write(tmp_path / "photos", {"cat": 20, "dog": 20, "owl": 20})


@pytest.fixture
def run(pictures: Path, tmp_path: Path) -> Run:
    return train(experiment_on(folder_spec(pictures, 8), "tiny", "at", settings=QUICK), tmp_path / "runs")


def known(run: Run) -> dict[str, Any]:
    return dict(read_json(run.folder / "images.json"))


def names_of_test_images(run: Run) -> list[str]:
    """Names of the test images."""
    return [name for name, _, _ in known(run)["test"]]


def repaint(path: Path) -> None:
    Image.new("RGB", (12, 12), "red").save(path, "PNG")


def spoil(path: Path) -> None:
    path.write_bytes(b"no image")


def to_another_class(path: Path) -> None:
    photos = next(parent for parent in path.parents if parent.name == "photos")
    shutil.move(path, photos / ("owl" if "cat" in path.parts else "cat") / f"moved {path.name}")


def test_a_run_keeps_the_names_and_digests_of_its_images(run: Run, pictures: Path) -> None:
    stored = known(run)
    spec = folder_spec(pictures, 8)
    assert stored["checksum"] == spec.checksum
    assert [len(stored[split]) for split in ("train", "test")] == [54, 6]
    assert [label for _, _, label in stored["test"]] == load(spec, "test").labels.tolist()
    names = json.loads(next((data_root() / "folders").glob("photos-*/split.json")).read_text("utf-8"))
    assert names_of_test_images(run) == names["test"]
    assert KnownImages.read(stored) == known_images(spec, data_root())


def test_an_added_photo_changes_nothing_but_is_named(run: Run, pictures: Path) -> None:
    before = advdpnp.evaluate(run.folder, "pgd20")
    # It sorts first, so that the folder's own split would move all others.
    repaint(pictures / "cat" / "! new.png")
    with pytest.warns(UserWarning, match=r"has changed since this run was trained: 1 added \(cat/! new.png\); of the"):
        after = advdpnp.evaluate(run.folder, "pgd20")
    assert after["indices"] == before["indices"] == "0-5"
    assert after["attacks"][0]["verdicts"] == before["attacks"][0]["verdicts"]
    assert after["warnings"][0].endswith("of the run's test images all 6 are as they were, and are evaluated")


@pytest.mark.parametrize(
    ("change", "words"),
    [(Path.unlink, "1 gone"), (repaint, "1 changed"), (spoil, "1 changed"), (to_another_class, "1 added .*, 1 gone")],
)
def test_a_test_image_that_is_not_as_it_was_is_left_out_and_the_others_keep_their_places(
    run: Run, pictures: Path, change: Callable[[Path], None], words: str
) -> None:
    before = advdpnp.evaluate(run.folder, ["pgd:steps=3"])
    change(pictures / names_of_test_images(run)[2])
    with pytest.warns(UserWarning, match=f"{words} .*of the run's test images 5 of 6 are as they were"):
        after = advdpnp.evaluate(run.folder, ["pgd:steps=3"])
    assert (after["n"], after["indices"]) == (5, "0-1,3-5")
    # Of the verdicts, one bit for each image, the third is left out; the noise of the others is as it was.
    bits, left = (np.unpackbits(np.frombuffer(_bytes(result), np.uint8)) for result in (before, after))
    assert left[:5].tolist() == np.delete(bits[:6], 2).tolist()
    with pytest.raises(ValueError, match="none of the images that --indices or --limit"):
        advdpnp.evaluate(run.folder, "clean", indices="2")


def _bytes(result: dict[str, Any]) -> bytes:
    return base64.b64decode(result["attacks"][0]["verdicts"])


def test_a_renamed_image_is_the_same(run: Run, pictures: Path) -> None:
    path = pictures / names_of_test_images(run)[0]
    path.rename(path.with_name("renamed.png"))
    result = advdpnp.evaluate(run.folder, "clean")
    assert result["n"] == 6 and "warnings" not in result


def test_a_class_that_is_new_or_gone_blocks_no_evaluation(run: Run, pictures: Path) -> None:
    write(pictures, {"ant": 3})
    shutil.rmtree(pictures / "dog")
    Image.new("RGB", (9, 9)).save(pictures / "loose.png")
    with pytest.warns(UserWarning, match=r"3 added \(ant/.*20 gone \(dog/.*of the run's test images 4 of 6 are as"):
        assert advdpnp.evaluate(run.folder, "clean")["n"] == 4
    shutil.rmtree(pictures / "cat")
    shutil.rmtree(pictures / "owl")
    with pytest.raises(ValueError, match="holds none of the 6 test images of this run as they were: put them back"):
        advdpnp.evaluate(run.folder, "clean")


def test_a_folder_that_is_gone_or_moved(run: Run, pictures: Path, tmp_path: Path) -> None:
    before = advdpnp.evaluate(run.folder, "clean")
    moved = pictures.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="photos is not there: put it back, or give its new place as --data"):
        advdpnp.evaluate(run.folder, "clean")
    same = advdpnp.evaluate(run.folder, "clean", on_data=folder_spec(moved, 8))
    assert same["clean_verdicts"] == before["clean_verdicts"] and same["data"] == "folder-photos"
    repaint(moved / "cat" / "! new.png")
    with pytest.warns(UserWarning, match="1 added .*all 6 are as they were"):
        same = advdpnp.evaluate(run.folder, "clean", on_data=folder_spec(moved, 8))
    assert same["clean_verdicts"] == before["clean_verdicts"] and same["data"] == "folder-photos"


def test_its_own_folder_given_by_name_is_tested_on_what_the_run_knows(run: Run, pictures: Path) -> None:
    repaint(pictures / "cat" / "! new.png")
    facts = folder_spec(pictures, 8)
    assert facts.test_size == 6 and facts.checksum != known(run)["checksum"]
    with pytest.warns(UserWarning, match="all 6 are as they were"):
        assert advdpnp.evaluate(run.folder, "clean", on_data=facts)["data"] == "folder-photos"


def test_training_images_in_another_test_folder_are_counted(run: Run, pictures: Path, tmp_path: Path) -> None:
    name, _, label = known(run)["train"][0]
    for place, kind in ((tmp_path / "new", "test"), (tmp_path / "other" / "photos", "test")):
        write(place / kind, {"cat": 2, "dog": 2, "owl": 2})
        for path in (place / kind).rglob("*.*"):
            repaint(path)
        shutil.copy(pictures / name, place / kind / "cat" / "seen.png")
    assert label == 0
    message = "1 of the 7 test images are among those that the run was trained on"
    with pytest.warns(UserWarning, match=message):
        first = advdpnp.evaluate(run.folder, "clean", on_data=folder_spec(tmp_path / "new", 8))
    assert first["data"] == "folder-new" and first["n"] == 7
    # Another folder of the same name is no reason to write over the run's own result.
    with pytest.warns(UserWarning, match=message):
        other = advdpnp.evaluate(run.folder, "clean", on_data=folder_spec(tmp_path / "other" / "photos", 8))
    assert other["data"].startswith("folder-photos-")


def test_a_run_of_an_earlier_version_remembers_its_images_before_they_change(run: Run, pictures: Path) -> None:
    stored = known(run)
    (run.folder / "images.json").unlink()
    advdpnp.evaluate(run.folder, "clean")
    assert known(run) == stored
    # What earlier versions kept has no names but those of split.json.
    (run.folder / "images.json").unlink()
    facts = next((data_root() / "folders").glob("photos-*/facts.json"))
    old = json.loads(facts.read_text("utf-8"))
    facts.write_text(
        json.dumps({key: old[key] for key in old if key not in ("sha256", "names", "parts", "repeated")}), "utf-8"
    )
    repaint(pictures / "cat" / "! new.png")
    with pytest.warns(UserWarning, match=r"1 added \(cat/! new.png\)"):
        advdpnp.evaluate(run.folder, "clean")
    assert known(run) == stored
    (run.folder / "images.json").unlink()
    with pytest.raises(ValueError, match="has changed: expected images with checksum"):
        advdpnp.evaluate(run.folder, "clean")


def test_a_damaged_list_of_images_is_named(run: Run) -> None:
    (run.folder / "images.json").write_text("{}")
    with pytest.raises(ValueError, match=r"images.json is damaged or .* \(no 'schema'\): remove it"):
        advdpnp.evaluate(run.folder, "clean")


@pytest.mark.parametrize("change", [lambda images: images[:-1], lambda images: [[*images[0][:2], 9], *images[1:]]])
def test_a_list_of_other_images_than_the_run_has_is_named(run: Run, change: Callable[[list[Any]], list[Any]]) -> None:
    path = run.folder / "images.json"
    stored = read_json(path)
    write_json(path, stored | {"test": change(stored["test"])})
    with pytest.raises(ValueError, match=r"images.json is damaged .* test images, not \d+ of \d classes\): remove it"):
        advdpnp.evaluate(run.folder, "clean")


@pytest.mark.parametrize("label", ["1", True, 1.0, -(10**399), 10**399, None, [1]])
def test_a_class_in_a_list_of_images_is_a_number(label: Any) -> None:
    # As it is read from a file: with lists, and numbers of up to 400 digits.
    stored = {"schema": 1, "checksum": "0", "train": [["a.png", "1f", 1]], "test": [["b.png", "2f", label]]}
    with pytest.raises(TypeError, match=r"an image\.label is "):
        KnownImages.read(stored)
    with pytest.raises(ValueError, match="argument"):
        KnownImages.read(stored | {"test": [["b.png", "2f"]]})
    assert KnownImages.read(stored | {"test": []}).train == (("a.png", "1f", 1),)


def test_a_run_does_not_go_on_with_other_images(run: Run, pictures: Path) -> None:
    repaint(pictures / "cat" / "! new.png")
    wanted = experiment_on(folder_spec(pictures, 8), "tiny", "at", settings=QUICK)
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"changed since .* begun \(54 to train and 6 to test then, 55 to"):
            train(wanted, run.folder.parents[3], resume=resume)


def test_predict_and_export_go_on(run: Run, pictures: Path, tmp_path: Path, checked: list[str]) -> None:
    image = pictures / known(run)["train"][0][0]
    first = advdpnp.predict(run.folder, image)
    repaint(pictures / "cat" / "! new.png")
    again = advdpnp.predict(run.folder, image)
    assert again.notes == first.notes == () and again.images == first.images
    (pictures / known(run)["train"][1][0]).unlink()
    assert "of the run's train images 53 of 54 are as they were" in advdpnp.predict(run.folder, image).notes[0]
    (pictures / names_of_test_images(run)[1]).unlink()
    advdpnp.export(run.folder, tmp_path / "exported")
    # Names of photos are not for others to read.
    assert not (tmp_path / "exported" / "images.json").exists()
    shutil.rmtree(pictures)
    advdpnp.export(run.folder, tmp_path / "again")
    assert checked == ["5 test images of folder-photos", "256 random images (the test images were not at hand)"]


def test_the_pixels_are_those_of_the_images_that_are_there(pictures: Path) -> None:
    spec: FolderSpec = folder_spec(pictures, 8)
    images = known_images(spec, data_root())
    assert images is not None
    whole = load(spec, "test")
    (pictures / images.test[4].name).unlink()
    found = find_known(spec, images, "test", data_root())
    rest = [0, 1, 2, 3, 5]
    assert found.missing == (4,) and torch.equal(torch.from_numpy(found.arrays[0])[rest], whole.pixels[rest])
    assert torch.equal(torch.from_numpy(found.arrays[1]), whole.labels)
    assert found.changes == f"1 gone ({images.test[4].name})"


def test_on_the_command_line_it_is_one_line_and_status_2(run: Run, pictures: Path) -> None:
    pictures.rename(pictures.with_name("away"))
    result = CliRunner().invoke(app, ["evaluate", str(run.folder), "--suite", "clean"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"advdpnp: the folder {pictures} is not there: put it back")
