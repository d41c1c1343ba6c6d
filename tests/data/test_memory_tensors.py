"""Arrays of any usual layout and type as tensors: what is taken, and what is refused in a line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from advdpnp.data.folder.decode import decode
from advdpnp.data.memory.sources import as_tensors, gather
from advdpnp.data.memory.tensors import class_labels, squared

X = np.random.default_rng(0).integers(0, 256, (12, 8, 6, 3)).astype(np.uint8)
Y = np.arange(12) % 3
FIRST = torch.from_numpy(X).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "images",
    [
        X,
        X.transpose(0, 3, 1, 2),
        X.astype(np.int64),
        X.astype(">u2"),
        np.flip(np.flip(X, 1).copy(), 1),
        np.asfortranarray(X),
        X / 255,
        (X / 255).astype(np.float32),
        (X / 255).astype(np.float32) * np.float32(1 + 1e-7),
        torch.from_numpy(X),
        torch.from_numpy(X).permute(0, 3, 1, 2) / 255,
        (torch.from_numpy(X) / 255).requires_grad_(),
        list(X),
        [Image.fromarray(image) for image in X],
    ],
    ids=[
        "NHWC", "NCHW", "int64", "big-endian", "reversed", "fortran", "float64", "float32", "rounded", "torch NHWC",
        "torch floats", "with history", "list", "PIL",
    ],
)  # fmt: skip
def test_bytes_are_the_same_whatever_holds_them(images: Any) -> None:
    found = gather((images, Y))
    assert found.pixels.dtype == torch.uint8 and torch.equal(found.pixels, FIRST)
    assert found.labels.tolist() == Y.tolist()


def test_floats_that_are_no_bytes_stay_as_they_are() -> None:
    x = torch.rand(5, 1, 4, 4)
    assert torch.equal(gather((x, Y[:5])).pixels, x)
    grey = x[:, 0].numpy().astype(np.float64)
    assert torch.equal(gather((grey, Y[:5])).pixels, x)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "<i4", ">i4", "u4", "i8", "u8"])
def test_labels_of_every_type_of_integers_are_int64(kind: str) -> None:
    labels = class_labels(Y.astype(kind), 12)
    assert labels.dtype == torch.int64 and labels.tolist() == Y.tolist()
    assert torch.equal(class_labels(Y.astype(kind)[:, None], 12), labels)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            (X / 255 - 0.5) / 0.25,
            Y,
            r"in \[0, 1\]; got -2 to 2: give un-normalized images, since",
        ),
        (X.astype(np.float32), Y, r"in \[0, 1\]; got 0 to 255: divide bytes by 255"),
        (X / 250, Y, r"got 0 to 1.02: cut them with x.clip\(0, 1\)"),
        (np.full((12, 4, 4), np.nan), Y, "got nan to nan: some are no numbers"),
        (X.astype(np.uint16) * 257, Y, r"must be in \[0, 255\]; got 0 to 65535: divide by the number that is white"),
        (X > 99, Y, "got truth values: give x.astype"),
        ((X > 99).astype(np.uint8), Y, "255 is white; got 0 to 1: give floats"),
        (np.concatenate([X, X[..., :1]], 3), Y, r"got \(12, 8, 6, 4\): leave the fourth channel out"),
        (X[..., :2], Y, r"with 1 or 3 channels; got \(12, 8, 6, 2\)$"),
        (X[:0], Y[:0], r"got \(0, 3, 8, 6\)"),
        (np.array([*X, None], dtype=object), Y, "array of numbers; got objects: images of one size make one array"),
        ([X[0], X[1, :4]], Y[:2], "images have different sizes .4x6, 8x6.: give an image_size, such as 32"),
        ([X[0], X[1] / 255], Y[:2], r"one type; got torch.float64 and torch.uint8"),
        (["cat.png"], [0], "image 0 must be a PIL image, an array or a tensor; got str"),
        (X, Y[:5], r"one label for each image; got 12 images and \(5,\) labels"),
        (X, np.eye(3)[Y], r"one integer for each image; got \(12, 3\): give y.argmax\(1\)"),
        (X, Y * 1.0, r"integers; got torch.float64: give y.astype\('int64'\)"),
        (X, np.array(["cat", "dog", "owl"])[Y], "array of numbers; got type <U3: give integers, as of numpy.unique"),
        (X, ["cat"] * 12, "give integers, as of numpy.unique"),
        (X, [[0], [0, 1]] * 6, "got lists of different lengths"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        gather((images, labels))
    assert "\n" not in str(caught.value)


def test_images_are_cut_and_resized_as_files_are(tmp_path: Path) -> None:
    large = np.random.default_rng(1).integers(0, 256, (20, 32, 3)).astype(np.uint8)
    Image.fromarray(large).save(tmp_path / "a.png")
    found = gather(([large, Image.fromarray(large)], [0, 1]), image_size=8)
    assert found.resized == "images of 20x32 become 8x8: the square in the middle, resized"
    for pixels in found.pixels:
        np.testing.assert_array_equal(pixels, decode(tmp_path / "a.png", 8))
    whole = gather((large[None], [0]), image_size=8)
    assert torch.equal(whole.pixels[0], found.pixels[0]) and whole.resized == found.resized


def test_the_square_is_the_middle_and_a_mean_of_equal_parts() -> None:
    image = torch.arange(32, dtype=torch.uint8).view(1, 4, 8)
    assert torch.equal(squared(image, 4), image[:, :, 2:6])
    assert torch.equal(squared(image[:, :, :4], 4), image[:, :, :4])
    # With half the size a triangle of width 4 weighs four pixels 1, 3, 3, 1; at an edge 3, 3, 1.
    row = torch.tensor([0.0, 1.0, 0.0, 0.0])
    small = squared(row.expand(1, 4, 4), 2)
    torch.testing.assert_close(small[0], torch.tensor([[3 / 7, 1 / 7]]).expand(2, 2))


def test_values_outside_of_0_and_1_are_refused_also_where_images_are_resized() -> None:
    with pytest.raises(ValueError, match="un-normalized"):
        gather(((X / 255 - 0.5) / 0.25, Y), image_size=4)


def test_a_network_may_have_other_channels() -> None:
    x, y = as_tensors(torch.rand(2, 5, 4, 4), np.array([0, 1], np.uint8))
    assert x.shape == (2, 5, 4, 4) and y.dtype == torch.int64
    with pytest.raises(ValueError, match=r"images need labels: give both, as in evaluate\(model, x, y\)"):
        as_tensors(X)
