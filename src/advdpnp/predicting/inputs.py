"""Images from files and tensors, as the pixels that a network reads."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advdpnp.data import DataSpec, Images
from advdpnp.data.folder.decode import decode_all, is_image, is_unread_heif
from advdpnp.predicting.predictions import Failure, Prediction

# Files that are in memory together.
_BLOCK = 2048
# Shares of red, green and blue in a grey level, in thousandths (ITU-R BT.601, as Pillow has them).
_GREY = torch.tensor([299, 587, 114])[:, None, None]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The images to predict.

    Args:
        entries: in the order of the predictions: the name of an image, or why it could not be read.
        images: those that could, in that order; their labels are 0 and not used.
    """

    entries: tuple[str | Failure, ...]
    images: Images

    @property
    def names(self) -> list[str]:
        """Names of the images that could be read."""
        return [entry for entry in self.entries if isinstance(entry, str)]

    def answered(self, predictions: Iterable[Prediction]) -> Iterator[Prediction | Failure]:
        """The predictions of `images` with the failures in their places."""
        answers = iter(predictions)
        for entry in self.entries:
            yield entry if isinstance(entry, Failure) else next(answers)


def blocks_of_files(
    files: Sequence[Path], spec: DataSpec, invert: bool, tell: Callable[[str], None]
) -> Iterator[Inputs]:
    """Image files, some at a time, so that any number of them fits into memory; else as `from_files`."""
    for start in range(0, len(files), _BLOCK):
        yield from_files(files[start : start + _BLOCK], spec, invert, tell)
        if start + _BLOCK < len(files):
            tell(f"{start + _BLOCK:,} of {len(files):,} images answered")


def from_files(files: Sequence[Path], spec: DataSpec, invert: bool, tell: Callable[[str], None]) -> Inputs:
    """Image files in the form of a run's own data.

    Args:
        files: what `find_images` returned.
        spec: of the run's data; colors become grey levels where it has one channel.
        invert: make dark light and light dark, for dark ink on a light ground where the data has light on dark.
        tell: called with lines of progress, where there are many files.
    """
    decoded, broken = decode_all(files, spec.image_shape[1], tell)
    entries = (Failure(str(path), broken[row]) if row in broken else str(path) for row, path in enumerate(files))
    good = [row for row in range(len(files)) if row not in broken]
    pixels = _in_levels(torch.from_numpy(decoded)[good], spec)
    return Inputs(tuple(entries), _unlabeled(spec.levels - pixels if invert else pixels, spec.levels))


def _in_levels(pixels: Tensor, spec: DataSpec) -> Tensor:
    """(N, 3, H, W) bytes in the channels and levels of a data set."""
    if spec.image_shape[0] == 1:
        pixels = (pixels.int() * _GREY).sum(dim=1, keepdim=True).add(500).floor_divide(1000)
    # To the nearest level: an image of the data set that was stored with 255 levels comes back as it was.
    return ((2 * spec.levels * pixels.int() + 255) // 510).to(torch.uint8)


def from_tensor(x: Tensor, levels: int, invert: bool) -> Inputs:
    """Images that are in memory already.

    Args:
        x: (N, channels, H, W), float in [0, 1] or uint8 in [0, levels].
        levels: the uint8 value that stands for 1.0.
        invert: as in `from_files`.
    Raises:
        ValueError: another shape, type or range.
    """
    top = levels if x.dtype == torch.uint8 else 1
    # Written so that NaN fails too.
    in_range = x.numel() == 0 or (bool(x.amin() >= 0) and bool(x.amax() <= top))
    if x.ndim != 4 or x.dtype not in (torch.uint8, torch.float32) or not in_range:
        raise ValueError(
            f"images must be (N, channels, H, W), float32 in [0, 1] or uint8 in [0, {levels}]; got {x.dtype} of shape "
            f"{tuple(x.shape)}" + (f" from {x.min():g} to {x.max():g}" if x.numel() else "")
        )
    return Inputs(tuple(f"image {row}" for row in range(len(x))), _unlabeled(top - x if invert else x, top))


def _unlabeled(pixels: Tensor, levels: int) -> Images:
    return Images(pixels, torch.zeros(len(pixels), dtype=torch.int64, device=pixels.device), levels)


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files that are given, and the images in the folders that are given: all below them, sorted, no hidden ones.

    Raises:
        FileNotFoundError: a path does not exist. ValueError: a folder holds no image, or no path is given.
    """
    if not paths:
        raise ValueError("expected images or folders of images; got none")
    return [image for path in paths for image in (_in_folder(path) if path.is_dir() else [_file(path)])]


def _file(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"no image at {path}: give an image file, or a folder of images")
    if not path.is_file():
        raise ValueError(f"{path} is a pipe or a device: give an image file, or a folder of images")
    return path


def _in_folder(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        # In place: the walk leaves hidden folders out.
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = (Path(parent, name) for name in names if not name.startswith("."))
        # HEIC photos too where they cannot be read: then the answer says so.
        found += [path for path in shown if is_image(path) or is_unread_heif(path)]
    if not found:
        raise ValueError(f"{folder} holds no images: give an image file, or a folder of png, jpeg or other images")
    # No pipes, which would block; a broken link is reported when it is read.
    return sorted(path for path in found if path.is_file() or not path.exists())
