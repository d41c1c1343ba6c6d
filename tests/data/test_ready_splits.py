"""Folders that hold train/, test/ and val/ already."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from advdpnp.api import make_task
from advdpnp.data import folder_spec, load
from advdpnp.data.folder.decode import decode
from advdpnp.data.folder.layout import scan
from advdpnp.data.splits import role_of, roles_of
from advdpnp.experiments import experiment_on, from_config


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path / "data"))
    return tmp_path / "photos"


def fill(folder: Path, counts: dict[str, int], first: int = 0) -> None:
    """So many images of each class, of one grey level each, from `first` on."""
    level = first
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("L", (9, 9), level).save(folder / name / f"{number}.png")
            level += 1


def three(place: Path) -> Path:
    fill(place / "train", {"cat": 5, "dog": 4})
    fill(place / "val", {"cat": 1, "dog": 2}, 100)
    fill(place / "test", {"cat": 3, "dog": 2}, 200)
    return place


@pytest.mark.parametrize(
    ("name", "role"),
    [("Train", "train"), ("training", "train"), ("valid", "validation"), ("dev", "validation"), ("TEST", "test")],
)
def test_splits_are_known_by_their_usual_names(name: str, role: str) -> None:
    assert role_of(name) == role and role_of("cat") is None


def test_without_a_test_part_validation_is_the_test_set() -> None:
    assert roles_of(["train", "valid"], "it") == {"train": "train", "test": "valid"}
    assert roles_of(["val", "train", "test"], "it") == {"train": "train", "validation": "val", "test": "test"}
    with pytest.raises(ValueError, match="it has two parts for one purpose, val and dev: leave one of them"):
        roles_of(["val", "dev"], "it")


def test_the_splits_are_those_of_the_folders(place: Path) -> None:
    told: list[str] = []
    spec = folder_spec(three(place), 8, tell=told.append)
    assert (spec.train_size, spec.validation_size, spec.test_size, spec.holdout) == (9 + 3, 3, 5, 3)
    assert spec.class_names == ("cat", "dog") and spec.divided
    (line,) = told
    assert line == (
        f"{place} holds ready-made splits: train/ with 9 images to train, val/ with 3 to choose the best weights, "
        "test/ with 5 to test"
    )
    train, test = load(spec, "train"), load(spec, "test")
    assert train.pixels[:, 0, 0, 0].tolist() == [*range(9), 100, 101, 102]
    assert train.labels.tolist() == [0] * 5 + [1] * 4 + [0, 1, 1]
    assert sorted(zip(test.pixels[:, 0, 0, 0].tolist(), test.labels.tolist())) == [
        (200, 0), (201, 0), (202, 0), (203, 1), (204, 1),
    ]  # fmt: skip
    np.testing.assert_array_equal(train.pixels[0], decode(place / "train" / "cat" / "0.png", 8))
    assert from_config(experiment_on(spec, "tiny", "at").config()).data == spec


@pytest.mark.parametrize(("holdout", "held"), [("3", {100, 101, 102}), ("0", set())])
def test_validation_images_choose_the_best_weights_and_are_never_trained_on(
    place: Path, holdout: str, held: set[int]
) -> None:
    spec = folder_spec(three(place), 8)
    task = make_task(experiment_on(spec, "tiny", "at", settings=[f"recipe.holdout={holdout}"]), torch.device("cpu"))
    assert task.train.pixels[:, 0, 0, 0].tolist() == list(range(9))
    chosen = set() if task.holdout is None else set(task.holdout.pixels[:, 0, 0, 0].tolist())
    assert chosen == held
    with pytest.raises(ValueError, match=r"recipe\.holdout must be at most 3, the validation images of folder-photos"):
        experiment_on(spec, "tiny", "at", settings=["recipe.holdout=4"])


def test_without_validation_images_training_images_are_held_out(place: Path) -> None:
    shutil.rmtree(three(place) / "val")
    spec = folder_spec(place, 8)
    assert (spec.train_size, spec.validation_size, spec.test_size, spec.holdout) == (9, 0, 5, 1)
    shutil.move(place / "test", place / "validation")
    assert folder_spec(place, 8).test_size == 5


def test_a_test_folder_alone_is_a_set_to_test_on_and_whole(place: Path) -> None:
    fill(place / "test", {"cat": 3, "dog": 1})
    spec = folder_spec(place, 8)
    assert (spec.train_size, spec.test_size) == (0, 4) and len(load(spec, "test")) == 4
    with pytest.raises(ValueError, match="has test images only"):
        experiment_on(spec, "tiny", "at")


def test_classes_of_the_splits_must_agree(place: Path) -> None:
    told: list[str] = []
    shutil.rmtree(three(place) / "test" / "dog")
    assert folder_spec(place, 8, tell=told.append).test_size == 3
    assert told[1:] == ["no test images of: dog"]
    fill(place / "test", {"Dog": 1})
    with pytest.raises(ValueError, match=r"cat, dog; test has Dog \(train has dog\): give both splits the same"):
        scan(place)
    fill(place / "train", {"Dog": 1})
    scan(place)
    shutil.rmtree(place / "val")
    with pytest.raises(ValueError, match=r"training images of .* needs at least 2 images; got Dog \(1\)"):
        scan(place)


def test_a_train_folder_alone_is_no_split(place: Path) -> None:
    fill(place / "train", {"cat": 3, "dog": 3})
    with pytest.raises(ValueError, match="has a train folder, but no test and no val: add one, or give the train"):
        scan(place)
    # A class may be called so.
    fill(place, {"bus": 3})
    assert scan(place).class_names == ("bus", "train")


def test_other_folders_beside_splits_are_named(place: Path) -> None:
    fill(three(place), {"samples": 1})
    told: list[str] = []
    assert folder_spec(place, 8, tell=told.append).class_names == ("cat", "dog")
    assert told[0].endswith("; not used: samples")


def test_a_split_seed_is_refused(place: Path) -> None:
    with pytest.raises(ValueError, match="holds its own test images: leave the split seed out; got 2"):
        folder_spec(three(place), 8, split_seed=2)


def test_images_in_both_splits_are_named(place: Path) -> None:
    shutil.copy(three(place) / "train" / "cat" / "1.png", place / "test" / "cat" / "again.png")
    told: list[str] = []
    folder_spec(place, 8, tell=told.append)
    line = (
        "warning: 1 of 6 test images is among the training images too, so the accuracy says less "
        "(test/cat/again.png = train/cat/1.png)"
    )
    assert told[1:] == [line]
    # Kept with the decoded images.
    folder_spec(place, 8, tell=told.append)
    assert told[-1] == line


def test_an_image_twice_in_an_undivided_folder_is_named_where_it_is_in_both_splits(place: Path) -> None:
    fill(place, {"cat": 10, "dog": 10})
    spec = folder_spec(place, 8)
    test = load(spec, "test")
    (row,) = torch.where(test.labels == 1)
    copied = int(test.pixels[row[0], 0, 0, 0]) - 10
    # After all others, so that the rest of the split stays as it is.
    shutil.copy(place / "dog" / f"{copied}.png", place / "dog" / "z.png")
    told: list[str] = []
    folder_spec(place, 8, tell=told.append)
    assert [line for line in told if "1 of 2 test images" in line and f"dog/{copied}.png = dog/z.png" in line] == told
