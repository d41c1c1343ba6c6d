"""Image files as a network reads them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from advdpnp.data import SPECS, Images
from advdpnp.predicting import Failure, find_images, from_files, from_tensor

DIGITS, MNIST, CIFAR = SPECS["digits"], SPECS["mnist"], SPECS["cifar10"]


def test_an_image_of_the_data_comes_back_from_its_file_as_it_was(folder: Path, digits: Images) -> None:
    inputs = from_files(sorted(folder.rglob("*.png"), key=lambda path: path.name), DIGITS, False, print)
    assert torch.equal(inputs.images.pixels, digits.pixels[:6]) and inputs.images.levels == 16


def test_a_color_file_of_a_color_run_is_read_byte_by_byte(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    inputs = from_files([tmp_path / "a.png"], CIFAR, False, print)
    assert np.array_equal(inputs.images.pixels[0].numpy(), pixels.transpose(2, 0, 1))


def test_colors_become_the_grey_levels_that_pillow_gives(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (28, 28, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = from_files([tmp_path / "a.png"], MNIST, False, print).images.pixels[0, 0].int()
    expected = torch.from_numpy(np.asarray(Image.fromarray(pixels).convert("L")).astype(np.int32))
    assert (found - expected).abs().max() <= 1


@pytest.mark.parametrize("levels", [16, 255])
def test_black_on_white_inverted_is_white_on_black(levels: int, tmp_path: Path) -> None:
    ink = np.full((28, 28), 255, np.uint8)
    ink[10:18, 12:16] = 0
    Image.fromarray(ink).save(tmp_path / "paper.png")
    plain, inverted = (
        from_files([tmp_path / "paper.png"], replace(MNIST, levels=levels), invert, print).images.pixels
        for invert in (False, True)
    )
    assert plain.min() == 0 and plain.max() == levels
    assert torch.equal(plain + inverted, torch.full_like(plain, levels))


def test_folders_are_searched_in_order_without_hidden_files_and_other_kinds(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPG", "a/x.webp", "a/notes.txt", "a/.hidden.png", ".git/3.png", "猫/ü 1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "a/pipe.png")
    (tmp_path / "a/y.png").symlink_to(tmp_path / "gone.png")
    found = [str(path.relative_to(tmp_path)) for path in find_images([tmp_path])]
    assert found == ["a/x.webp", "a/y.png", "b/1.JPG", "b/2.png", "猫/ü 1.png"]
    given = tmp_path / "a/notes.txt"
    assert find_images([given, tmp_path / "b"])[0] == given


def test_nothing_to_read_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no image at .*nowhere\.png"):
        find_images([tmp_path / "nowhere.png"])
    with pytest.raises(ValueError, match="holds no images"):
        find_images([tmp_path])
    with pytest.raises(ValueError, match="got none"):
        find_images([])


def test_a_file_that_is_no_image_fails_in_its_place_and_the_others_go_on(folder: Path) -> None:
    (folder / "part 0" / "ziffer-1.png").write_bytes(b"no image at all")
    (folder / "part 1" / "ziffer-2.png").write_bytes((folder / "part 0" / "ziffer-0.png").read_bytes()[:60])
    inputs = from_files(find_images([folder]), DIGITS, False, print)
    failed = [place for place, entry in enumerate(inputs.entries) if isinstance(entry, Failure)]
    assert failed == [1, 5] and len(inputs.images) == len(inputs.names) == 6
    assert all("\n" not in entry.error for entry in inputs.entries if isinstance(entry, Failure))


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(3, 8, 8),
        torch.rand(1, 1, 8, 8) * 2,
        torch.full((1, 1, 8, 8), torch.nan),
        torch.full((1, 1, 8, 8), 17, dtype=torch.uint8),
        torch.zeros(1, 1, 8, 8, dtype=torch.int64),
    ],
    ids=["no batch", "above 1", "nan", "above the levels", "integers"],
)
def test_tensors_that_are_no_images_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"float32 in \[0, 1\] or uint8 in \[0, 16\]"):
        from_tensor(x, 16, invert=False)


def test_bytes_and_floats_of_one_image_are_the_same_input(digits: Images) -> None:
    floats, _ = digits.batch(torch.arange(3))
    index = torch.arange(3)
    for invert in (False, True):
        first, _ = from_tensor(digits.pixels[:3], 16, invert).images.batch(index)
        second, _ = from_tensor(floats, 16, invert).images.batch(index)
        assert torch.equal(first, second)
