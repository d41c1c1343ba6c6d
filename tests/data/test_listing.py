"""What a folder of images by class may look like."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from advdpnp.data.folder.layout import remarks, scan
from data.pictures import CLASSES, write


def test_files_are_listed_by_class_and_name_with_their_sizes(tmp_path: Path) -> None:
    listing = scan(write(tmp_path))
    assert listing.class_names == tuple(CLASSES)
    assert [file.label for file in listing.files] == [0] * 30 + [1] * 24 + [2] * 7
    assert all(listing.class_names[file.label] == file.name.split("/")[0] for file in listing.files)
    assert all(file.size == file.path.stat().st_size for file in listing.files)
    for label in range(3):
        names = [file.name for file in listing.files if file.label == label]
        assert names == sorted(names)


def test_the_digest_changes_with_what_is_touched_only(tmp_path: Path) -> None:
    digest = scan(write(tmp_path)).digest()
    (tmp_path / "notes.txt").write_text("x")
    assert scan(tmp_path).digest() == digest
    image = scan(tmp_path).files[0].path
    image.rename(image.with_stem("other"))
    assert scan(tmp_path).digest() != digest


def no_classes(folder: Path) -> None:
    folder.mkdir()


def one_class(folder: Path) -> None:
    write(folder, {"only": 5})


def loose_images(folder: Path) -> None:
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "a.png")


def loose_beside_classes(folder: Path) -> None:
    write(folder)
    Image.new("RGB", (4, 4)).save(folder / "a.png")


def empty_class(folder: Path) -> None:
    write(folder)
    (folder / "empty" / "deeper").mkdir(parents=True)


def two_images(folder: Path) -> None:
    write(folder, {"a": 2, "b": 9})


def splits_of_images(folder: Path) -> None:
    write(folder, {"Train": 3, "test": 3, "val": 3})
    for place in folder.iterdir():
        for image in place.rglob("deeper/*"):
            image.rename(place / image.name)
        (place / "deeper").rmdir()


def classes_below(folder: Path) -> None:
    write(folder / "photos")


def a_file(folder: Path) -> None:
    folder.write_text("x")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda folder: None, FileNotFoundError, "no folder at .*: give a folder that holds one folder of images"),
        (a_file, ValueError, "must be a folder .*; got a file"),
        (no_classes, ValueError, "at least 2; got none: make a folder for each class"),
        (one_class, ValueError, "at least 2; got only: make a folder for each class"),
        (loose_images, ValueError, r"got 1 outside of them \(a.png\): move each into the folder of its class"),
        (loose_beside_classes, ValueError, r"got 1 outside of them \(a.png\)"),
        (empty_class, ValueError, r"at least 3 images; got empty \(0\): add images, or remove the class"),
        (two_images, ValueError, r"at least 3 images; got a \(2\)"),
        (
            splits_of_images,
            ValueError,
            "got Train, test, val, which look like splits, but Train, test, val holds no",
        ),
        (classes_below, ValueError, "at least 2; got photos: did you mean .*images/photos?"),
    ],
)
def test_a_layout_without_classes_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], None], kind: type[Exception], message: str
) -> None:
    make(tmp_path / "images")
    with pytest.raises(kind, match=message) as caught:
        scan(tmp_path / "images")
    assert "\n" not in str(caught.value)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"photos.zip must be a folder .*; got a file: unpack it first"):
        scan(tmp_path / "photos.zip")


def test_names_that_differ_in_case_only_are_two_classes_and_said(tmp_path: Path) -> None:
    listing = scan(write(tmp_path, {"Cat": 3, "cat": 4, "dog": 3}))
    assert list(listing.counts().values()) == [3, 4, 3]
    assert list(remarks(listing)) == ["warning: Cat and cat are two classes, whose names differ in case only"]
