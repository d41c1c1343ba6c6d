"""Facts about a data set, and a picture of its classes."""

import importlib.util
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from advdpnp.data.datasets import read
from advdpnp.data.folder.folder_spec import FolderSpec
from advdpnp.data.images import Images
from advdpnp.data.sets import files, spec
from advdpnp.data.specs import DataSpec, Split

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

_LARGEST, _GAP, _MARGIN, _FONT_SIZE = 64, 3, 16, 14
_LONGEST_NAME = 160
# This many rows of a class with five images each make a square; with more classes there are several columns.
_CLASSES_OF_A_SQUARE = 6
_PAPER, _INK = "white", "black"


def describe(facts: DataSpec) -> dict[str, str]:
    """Facts about a data set, as text for people."""
    bytes_of_eps = facts.eps * 255
    eps = f"{bytes_of_eps:g}/255" if bytes_of_eps.is_integer() else f"{facts.eps:g}"
    return {
        "name": facts.name,
        "images": f"{facts.train_size} training, {facts.test_size} test, {'x'.join(map(str, facts.image_shape))}",
        "classes": f"{facts.num_classes}: {', '.join(facts.class_names)}",
        "values": f"0 to {facts.levels}, divided by {facts.levels}",
        "eps": f"{eps}, l_inf",
        "augmentation": str(facts.augmentation),
        "held out": f"{facts.holdout} training images, recipe default",
        "files": _files(facts),
    }


def splits(facts: DataSpec) -> tuple[Split, ...]:
    """The splits that a set has."""
    return ("train", "test") if facts.train_size else ("test",)


def load_splits(facts: DataSpec, root: Path) -> dict[Split, Images]:
    """All splits of a set.

    Raises:
        ValueError: a damaged file. FileNotFoundError: a file is missing.
    """
    return {split: read(facts, split, root) for split in splits(facts)}


def measure(images: Images, facts: DataSpec) -> dict[str, Any]:
    """Counts and statistics of one split, as JSON values.

    Returns:
        images: how many; per_class: how many by class name; mean and std: of each channel, in [0, 1].
    """
    counts = torch.bincount(images.labels, minlength=facts.num_classes).tolist()
    mean, std = _moments(images)
    per_class = dict(zip(facts.class_names, counts, strict=True))
    return {"images": len(images), "per_class": per_class, "mean": mean, "std": std}


def measure_text(found: dict[str, Any]) -> str:
    """One split in one line."""
    counts = found["per_class"]
    if len(set(counts.values())) == 1:
        share = f"{found['images'] // len(counts)} of each class"
    else:
        share = "by class " + ", ".join(f"{name}: {count}" for name, count in counts.items())
    moments = "; ".join(f"{name} {', '.join(f'{value:.4f}' for value in found[name])}" for name in ("mean", "std"))
    return f"{found['images']} images; {moments}; {share}"


def contact_sheet(images: Images, class_names: Sequence[str], per_class: int = 10) -> bytes:
    """The first images of each class, a row for each class.

    Args:
        images: the set; 1 or 3 channels.
        class_names: one for each class.
        per_class: images of each class, at least 1; a class that has fewer leaves its places empty.
    Returns:
        A PNG file.
    """
    from PIL import Image, ImageDraw

    font = _font()
    columns = max(1, round(math.sqrt(len(class_names) / _CLASSES_OF_A_SQUARE)))
    rows = -(-len(class_names) // columns)
    shown = per_class if columns == 1 else max(1, per_class // 2)
    names = [_fitting(_drawable(name, label, font), font) for label, name in enumerate(class_names)]
    indent = math.ceil(max(map(font.getlength, names))) + _MARGIN
    width, height = _tile_size(images)
    row_height, column_width = height + _GAP, indent + shown * (width + _GAP) + _MARGIN
    sheet = Image.new("RGB", (_MARGIN + columns * column_width, 2 * _MARGIN + rows * row_height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for label, name in enumerate(names):
        left, top = _MARGIN + label // rows * column_width, _MARGIN + label % rows * row_height
        draw.text((left, top + height / 2), name, _INK, font, anchor="lm")
        for place, index in enumerate((images.labels == label).nonzero()[:shown, 0].tolist()):
            sheet.paste(_tile(images, index), (left + indent + place * (width + _GAP), top))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _files(facts: DataSpec) -> str:
    if isinstance(facts, FolderSpec):
        return facts.path
    return ", ".join(file.path for file, _ in files(facts.name)) or spec(facts.name).origin


def _moments(images: Images) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, in [0, 1], exact but for the last rounding."""
    means, deviations = [], []
    values = torch.arange(256, dtype=torch.float64) / images.levels
    for channel in images.pixels.unbind(1):
        share = _histogram(channel) / channel.numel()
        mean = (share * values).sum()
        means.append(mean.item())
        deviations.append((share * (values - mean) ** 2).sum().sqrt().item())
    return means, deviations


def _histogram(channel: Tensor) -> Tensor:
    """(256,) float64 counts of the bytes, in parts, since bincount widens bytes to int64."""
    counts = torch.zeros(256, dtype=torch.float64)
    for part in torch.split(channel, 4096):
        counts += torch.bincount(part.flatten(), minlength=256)
    return counts


def _tile_size(images: Images) -> tuple[int, int]:
    """Width and height of each image on the sheet: a whole multiple, so that single pixels stay squares, or less."""
    height, width = images.pixels.shape[2:]
    largest = max(height, width)
    factor = _LARGEST // largest if largest <= _LARGEST else _LARGEST / largest
    return max(1, round(width * factor)), max(1, round(height * factor))


def _tile(images: Images, index: int) -> "Image":
    from PIL import Image

    pixels = (images.pixels[index].to(torch.float32) * (255 / images.levels)).round().to(torch.uint8)
    image = Image.fromarray(pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
    size = _tile_size(images)
    return image.resize(size, Image.Resampling.NEAREST if size >= image.size else Image.Resampling.LANCZOS)


def _font() -> "FreeTypeFont":
    """DejaVu Sans, which comes with matplotlib and knows most alphabets."""
    from PIL import ImageFont

    # Found without an import: matplotlib is no part of this layer, only its font is wanted.
    found = importlib.util.find_spec("matplotlib")
    assert found is not None and found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0])
    return ImageFont.truetype(folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", _FONT_SIZE)


def _drawable(name: str, label: int, font: "FreeTypeFont") -> str:
    """The name, or the number of the class where the font lacks one of its letters."""
    name = " ".join(name.split())
    unknown = bytes(font.getmask("\U0010ffff"))
    letters = {letter for letter in name if not letter.isspace()}
    known = all(letter.isprintable() and bytes(font.getmask(letter)) != unknown for letter in letters)
    return name if letters and known else f"class {label}"


def _fitting(name: str, font: "FreeTypeFont") -> str:
    shown = name
    while font.getlength(shown) > _LONGEST_NAME:
        name = name[:-1]
        shown = name + "…"
    return shown
