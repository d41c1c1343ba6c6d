"""Data sets of torch and of HuggingFace: read through their interface, the latter without the package."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from advdpnp.data.memory.sources import gather

X = np.random.default_rng(0).integers(0, 256, (12, 8, 6, 3)).astype(np.uint8)
Y = (np.arange(12) % 3).tolist()
FIRST = torch.from_numpy(X).permute(0, 3, 1, 2)
PICTURES = [Image.fromarray(image) for image in X]


def as_is(image: Image.Image) -> Any:
    return image


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


class Photos(Dataset[Any]):
    classes = ("ant", "bee", "cat")

    def __init__(self, transform: Callable[[Image.Image], Any] = as_is) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return len(PICTURES)

    def __getitem__(self, position: int) -> Any:
        return self.transform(PICTURES[position]), Y[position]


@pytest.mark.parametrize("transform", [as_is, np.array, to_tensor])
def test_a_data_set_of_torch_is_read_with_its_transforms_and_class_names(transform: Any) -> None:
    found = gather(Photos(transform))
    assert torch.equal(found.pixels, FIRST) and found.labels.tolist() == Y
    assert found.class_names == Photos.classes and found.name == "Photos"
    part = gather(Subset(Photos(transform), range(3, 9)))
    assert torch.equal(part.pixels, FIRST[3:9]) and part.class_names == Photos.classes


def test_tensors_and_lists_of_pairs_are_data_sets_too() -> None:
    for source in (TensorDataset(FIRST, torch.tensor(Y)), list(zip(PICTURES, Y)), [{"image": p, "label": k} for p, k in zip(X, Y)]):  # fmt: skip  # noqa: E501
        found = gather(source)
        assert torch.equal(found.pixels, FIRST) and found.labels.tolist() == Y and found.class_names == ()


def test_grey_and_color_pictures_together_are_all_in_color() -> None:
    mixed = [picture.convert("L") if k % 2 else picture for k, picture in enumerate(PICTURES)]
    pixels = gather((mixed, Y)).pixels
    assert torch.equal(pixels[0], FIRST[0])
    assert torch.equal(pixels[1], torch.from_numpy(np.array(mixed[1])).expand(3, -1, -1))
    assert gather(([picture.convert("L") for picture in PICTURES], Y)).pixels.shape[1] == 1


def test_pictures_are_turned_and_laid_on_white_as_files_are() -> None:
    clear = Image.new("RGBA", (6, 8), (0, 0, 0, 0))
    turned = PICTURES[0].copy()
    turned.getexif()[0x0112] = 3
    pixels = gather(([clear, turned], [0, 1])).pixels
    assert (pixels[0] == 255).all() and torch.equal(pixels[1], FIRST[0].flip(1, 2))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield X[0], 0


def with_noise(image: Image.Image) -> torch.Tensor:
    return torch.rand(3, 4, 4)


class Images(Photos):
    def __getitem__(self, position: int) -> Any:
        return PICTURES[position]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (DataLoader(Photos()), "got a DataLoader: give loader.dataset"),
        (Stream(), r"with a length and positions; got Stream: give list\(it\)"),
        (iter([(X[0], 0)]), r"give list\(it\), if it fits"),
        (
            Photos(with_noise),
            "image 0 differs from one reading to the next: give the data set without random",
        ),
        (Images(), r"item 0 must be \(image, label\); got Image"),
        ([(X[0], 0, 1)], r"item 0 must be \(image, label\); got 3 values"),
        ([{"image": X[0], "name": "a"}], "item 0 must have an image and a label; got image, name"),
        ([(X[0], "cat")], "labels must be integers; got the text 'cat' at 0"),
        ([(X[0], np.eye(3)[0])], "the label at 0 must be one integer; got 3 values"),
        ([], "at least one image; got none"),
        (X, "images need labels"),
        ("photos", "got the text 'photos': a folder is read by advdpnp.folder_spec"),
        (None, "a data set of torch or HuggingFace, or a mapping of train and test; got NoneType"),
    ],
)
def test_what_is_no_such_data_set_is_refused_in_one_line(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        gather(source)
    assert "\n" not in str(caught.value)


# A stand-in for the classes of features, which are told by their names.
Features = dict[str, Any]


def feature(kind: str, **facts: Any) -> Any:
    return type(kind, (), facts)()


class Table:
    """What a HuggingFace `Dataset` answers to."""

    def __init__(self, features: Features, rows: list[dict[str, Any]]) -> None:
        self.features, self.rows, self.column_names = features, rows, list(features)
        self.info = SimpleNamespace(dataset_name="beans", builder_name=None)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return self.rows[position]


FEATURES: Features = {
    "file": feature("Value", dtype="string"),
    "photo": feature("Image"),
    "kind": feature("ClassLabel", names=["ant", "bee", "cat"], dtype="int64"),
}
ROWS = [{"file": "a", "photo": picture, "kind": label} for picture, label in zip(PICTURES, Y)]


def test_a_data_set_of_huggingface_is_read_by_the_kinds_of_its_columns() -> None:
    found = gather(Table(FEATURES, ROWS))
    assert torch.equal(found.pixels, FIRST) and found.labels.tolist() == Y
    assert found.class_names == ("ant", "bee", "cat") and found.name == "beans"
    by_name = {"img": feature("Array3D"), "label": feature("Value", dtype="int64")}
    rows = [{"img": image.tolist() and image, "label": label} for image, label in zip(X, Y)]
    assert torch.equal(gather(Table(by_name, rows)).pixels, FIRST)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            FEATURES | {"coarse": FEATURES["kind"]},
            r"2 columns of labels, kind, coarse: keep one, as in data.select",
        ),
        (
            {"file": FEATURES["file"], "kind": FEATURES["kind"]},
            "no column of images; got file, kind: rename one to",
        ),
        ({"photo": FEATURES["photo"], "file": FEATURES["file"]}, "no column of labels; got photo, file: rename one to"),
        (
            {"photo": FEATURES["photo"], "label": feature("Value", dtype="string")},
            r"column label holds texts: give data.class_encode_column\('label'\)",
        ),
    ],
)
def test_columns_that_leave_a_choice_are_named(features: Features, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gather(Table(features, ROWS))


def test_a_streamed_data_set_is_refused() -> None:
    streamed = SimpleNamespace(column_names=["photo"], features=FEATURES)
    with pytest.raises(ValueError, match="which is streamed: load it without streaming=True"):
        gather(streamed)


def test_the_package_itself_is_read_where_it_is_installed() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    table = datasets.Dataset.from_dict({"image": PICTURES, "label": Y}, features=features)
    for source in (table, table.with_format("torch"), table.with_format("numpy")):
        found = gather(source)
        assert torch.equal(found.pixels, FIRST) and found.labels.tolist() == Y and found.class_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="streamed"):
        gather(table.to_iterable_dataset())
    with pytest.raises(ValueError, match="class_encode_column"):
        gather(table.cast_column("label", datasets.Value("string")))
