"""Image files of any kind as square uint8 arrays in color.

Special cases: orientation as EXIF has it; transparent parts over white; the first frame of an animation;
of 16 bits the upper 8; CMYK by Pillow's plain formula, since color profiles are not applied.
"""

import functools
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .bmp .dib .gif .webp .tif .tiff .avif .ppm .pgm .pbm .pnm .jp2 .j2k".split()
)
# Photos of telephones, which the package pillow-heif reads.
HEIF_ENDINGS = (".heic", ".heif", ".hif")
# Pillow's other formats run external programs, or are no pictures.
_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "WEBP", "TIFF", "AVIF", "PPM", "JPEG2000", "HEIF")

# Pillow's own limit, against files that unpack to fill the memory.
MAX_PIXELS = 89_478_485

_INSTALL = "pip install pillow-heif"

# Before the filter, images shrink by whole factors to no less than this many times the wanted size.
_GAP = 2
_BLOCK = 64
_TELL_SECONDS = 5


def is_image(path: Path) -> bool:
    """Whether the file's ending is that of an image that can be read here."""
    ending = path.suffix.lower()
    return ending in ENDINGS or (ending in HEIF_ENDINGS and _reads_heif())


def is_unread_heif(path: Path) -> bool:
    """Whether the file is a HEIC photo that cannot be read here."""
    return path.suffix.lower() in HEIF_ENDINGS and not _reads_heif()


def heif_text(ignored: Mapping[str, int]) -> str:
    """What to do about HEIC photos among the files that are not read; "" where there are none.

    Args:
        ignored: how many files there are, by ending.
    """
    count = sum(ignored.get(ending, 0) for ending in HEIF_ENDINGS)
    photos = "photo is" if count == 1 else "photos are"
    return f"{count} HEIC {photos} not used, since only pillow-heif reads them: {_INSTALL}" if count else ""


@functools.cache
def _reads_heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def decode(path: Path, image_size: int) -> NDArray[np.uint8]:
    """The largest centered square of an image file, in color, resized with an antialiased bilinear filter.

    Args:
        path: the file.
        image_size: S, at least 1.
    Returns:
        (3, S, S) uint8.
    Raises:
        ValueError: it cannot be read as an image, or has more than `MAX_PIXELS`.
    """
    with _no_warnings():
        try:
            return _decode(path, image_size)
        except Exception as error:
            raise ValueError(f"{path} must be an image that can be read; got: {_reason(error)}") from None


def decode_all(
    paths: Sequence[Path], image_size: int, tell: Callable[[str], None], workers: int | None = None
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Many image files, decoded in parallel; the result does not depend on the number of threads.

    Args:
        paths: N files.
        image_size: S.
        tell: called with a line of progress every 5 s.
        workers: threads; by default one for each processor.
    Returns:
        (N, 3, S, S) uint8, and why the files at some positions could not be read; their rows are undefined.
    """
    pixels = np.empty((len(paths), 3, image_size, image_size), np.uint8)
    blocks = [range(start, min(start + _BLOCK, len(paths))) for start in range(0, len(paths), _BLOCK)]
    broken: dict[int, str] = {}
    _formats()
    with _no_warnings(), ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            told = began = monotonic()
            for block, reasons in zip(blocks, pool.map(functools.partial(_fill, pixels, paths), blocks)):
                broken |= reasons
                now = monotonic()
                if now - told > _TELL_SECONDS and block.stop < len(paths):
                    left = (now - began) * (len(paths) - block.stop) / block.stop
                    tell(f"{block.stop:,} of {len(paths):,} images decoded, about {left:.0f} s left")
                    told = now
        except BaseException:
            # On Ctrl-C, blocks that have not begun are dropped.
            pool.shutdown(cancel_futures=True)
            raise
    return pixels, broken


def _fill(pixels: NDArray[np.uint8], paths: Sequence[Path], block: range) -> dict[int, str]:
    """Decode one block of files into their rows; the reasons why some could not be, by row."""
    broken = {}
    for row in block:
        try:
            pixels[row] = _decode(paths[row], pixels.shape[2])
        except Exception as error:  # a damaged file fails in any way that a decoder can
            broken[row] = _reason(error)
    return broken


@contextmanager
def _no_warnings() -> Iterator[None]:
    # The filters belong to the process, so they are changed around all threads, never within one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    if _reads_heif():
        from pillow_heif import register_heif_opener

        register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _decode(path: Path, image_size: int) -> NDArray[np.uint8]:
    from PIL import Image

    if is_unread_heif(path):
        raise ValueError(f"a HEIC photo, which only pillow-heif reads: {_INSTALL}")
    with Image.open(path, formats=_formats()) as image:
        # A JPEG that is much larger is decoded at a fraction of its size.
        image.draft(None, (_GAP * image_size, _GAP * image_size))
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        picture = _upright(image, _in_color(image))
    return np.asarray(centered_square(picture, image_size)).transpose(2, 0, 1)


def centered_square(picture: "Image", image_size: int) -> "Image":
    """The largest centered square of a picture, resized with an antialiased bilinear filter."""
    from PIL import Image

    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return picture.resize((image_size, image_size), Image.Resampling.BILINEAR, box, reducing_gap=_GAP)


def _upright(file: "Image", picture: "Image") -> "Image":
    """The picture turned as the file's EXIF data say; damaged data say nothing."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    turns = (
        Transpose.FLIP_LEFT_RIGHT,
        Transpose.ROTATE_180,
        Transpose.FLIP_TOP_BOTTOM,
        Transpose.TRANSPOSE,
        Transpose.ROTATE_270,
        Transpose.TRANSVERSE,
        Transpose.ROTATE_90,
    )
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return picture
    return picture.transpose(turns[orientation - 2]) if orientation in range(2, 9) else picture


def picture_of(image: "Image") -> NDArray[np.uint8]:
    """A PIL image, turned as its EXIF data say: (H, W) where it has grey levels alone, else (H, W, 3) in color."""
    plain = image.convert("L") if image.mode in ("1", "L") and "transparency" not in image.info else _in_color(image)
    return np.array(_upright(image, plain))


def _in_color(image: "Image") -> "Image":
    """Any mode as RGB."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, so which one is white is not known")
    if image.mode.startswith("I"):
        return _from_16_bits(np.asarray(image))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(levels: NDArray[np.generic]) -> "Image":
    from PIL import Image

    wide = levels.astype(np.int64)
    if wide.min() < 0 or wide.max() > 0xFFFF:
        raise ValueError("its pixels have more than 16 bits, so which one is white is not known")
    return Image.fromarray((wide >> 8).astype(np.uint8)).convert("RGB")


def _reason(error: Exception) -> str:
    """Why a file could not be read, short."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"too large, more than {MAX_PIXELS:,} pixels to unpack"
    if isinstance(error, UnidentifiedImageError):
        return "no image of a known kind"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    text = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 100 else text[:97] + "..."
