import io

import numpy as np
import pytest
import torch
from PIL import Image

from advdpnp.data import Images, contact_sheet
from advdpnp.data.describe import _drawable, _font


def picture(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def plain(colors: list[tuple[int, int, int]], labels: list[int], size: int = 32, levels: int = 255) -> Images:
    pixels = torch.tensor(colors, dtype=torch.uint8)[:, :, None, None].expand(-1, -1, size, size)
    return Images(pixels, torch.tensor(labels), levels)


def area(sheet: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((sheet == color).all(-1).sum())


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.mark.parametrize(("size", "shown"), [(32, 64), (28, 56), (8, 64), (1, 64), (64, 64), (224, 64)])
def test_each_image_is_there_once_at_a_whole_multiple_or_smaller(size: int, shown: int) -> None:
    sheet = picture(contact_sheet(plain([RED, GREEN, BLUE], [0, 1, 0], size), ["a", "b"]))
    assert [area(sheet, color) for color in (RED, GREEN, BLUE)] == [shown**2] * 3


def test_rows_are_classes_and_columns_the_first_images_in_order() -> None:
    sheet = picture(contact_sheet(plain([RED, GREEN, BLUE], [1, 0, 1]), ["a", "b"]))
    (red, green, blue) = ([axis.min() for axis in np.nonzero((sheet == color).all(-1))] for color in (RED, GREEN, BLUE))
    assert green[0] < red[0] == blue[0]
    assert green[1] == red[1] < blue[1]


def test_no_more_images_of_a_class_than_asked_for() -> None:
    sheet = picture(contact_sheet(plain([RED] * 12, [0] * 12), ["a", "b"], per_class=3))
    assert area(sheet, RED) == 3 * 64**2


def test_single_pixels_stay_sharp_squares() -> None:
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    pixels[0, 0, 2, 5] = 255
    sheet = picture(contact_sheet(Images(pixels, torch.tensor([0])), ["a"]))
    rows, columns = np.nonzero((sheet == RED).all(-1))
    assert (np.ptp(rows), np.ptp(columns), len(rows)) == (7, 7, 64)


def test_gray_images_are_gray_and_levels_reach_white() -> None:
    images = Images(torch.full((1, 1, 8, 8), 8, dtype=torch.uint8), torch.tensor([0]), levels=16)
    assert area(picture(contact_sheet(images, ["a"])), (128, 128, 128)) == 64**2


@pytest.mark.parametrize("classes", [1, 10, 40, 100, 300])
def test_a_sheet_is_never_a_ribbon(classes: int) -> None:
    images = plain([RED] * classes, list(range(classes)), size=1)
    height, width, _ = picture(contact_sheet(images, [f"class_{k}" for k in range(classes)])).shape
    assert classes == 1 or 0.5 < width / height < 2


@pytest.mark.parametrize("name", ["café", "Ωμέγα", "собака", "Tiếng Việt", "lawn_mower", "עברית", "عربي"])
def test_names_of_most_alphabets_are_drawn(name: str) -> None:
    assert _drawable(name, 3, _font()) == name


@pytest.mark.parametrize("name", ["猫", "cat 🐈", "", "   ", "\u202eevil", "\x07"])
def test_a_name_that_the_font_lacks_becomes_the_number_of_the_class(name: str) -> None:
    assert _drawable(name, 3, _font()) == "class 3"


def test_long_names_are_cut_and_line_breaks_are_spaces() -> None:
    short, long_, endless = (contact_sheet(plain([RED], [0]), [name]) for name in ("x", "x" * 200, "x" * 2000))
    assert picture(long_).shape == picture(endless).shape
    assert picture(short).shape[1] < picture(long_).shape[1] < 1000
    assert contact_sheet(plain([RED], [0]), ["a\nb"]) == contact_sheet(plain([RED], [0]), ["a b"])


def test_a_class_without_images_leaves_its_row_empty() -> None:
    sheet = picture(contact_sheet(plain([RED], [1]), ["a", "b", "c"]))
    assert area(sheet, RED) == 64**2
