"""Which images of a test set: positions, and the text in which results name them, such as "0-99,2303"."""

import hashlib
import re
from collections.abc import Iterable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from advdpnp.bounded_files import read_text
from advdpnp.ranges import brief
from advdpnp.stored_values import parsed

# "7", "0-99", or "1-199 step 4".
_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+)(?:\s+step\s+(\d+))?)?")
_PART = re.compile(r" part \d+ of \d+$")
# A position has so many digits at most; a file of all of them so many bytes.
_DIGITS, _MOST_BYTES = 8, 1 << 30
_LARGEST = 10**_DIGITS // 10 - 1
# Of a text for people; longer ones are cut.
_SHORT = 60


def parse_indices(chosen: Any) -> tuple[int, ...]:
    """Positions in a test set, counted from 0, in ascending order.

    Args:
        chosen: text such as "0-99,2303" or "0-199 step 4"; a file with one position or range in a line, a JSON list, or
            a .npy array; or the positions themselves, as any sequence, array or tensor of whole numbers.
    Raises:
        ValueError: none of these, no position at all, one below 0, or one that is named twice.
    """
    if not isinstance(chosen, str | Path):
        return _checked(_in_list(chosen, "indices"), chosen)
    if _is_text(str(chosen)):
        return _checked(_in_text(str(chosen)), chosen)
    positions = _in_file(Path(chosen))
    try:
        return _checked(positions, chosen)
    except ValueError as error:
        raise ValueError(f"{chosen}: {error}") from None


def _checked(positions: list[int], chosen: Any) -> tuple[int, ...]:
    positions.sort()
    if not positions:
        raise ValueError(f"indices name no image; got {brief(chosen)}: give some, such as 0-99,2303")
    if positions[0] < 0:
        raise ValueError(f"indices count test images from 0; got {positions[0]}")
    twice = next((one for one, other in pairwise(positions) if one == other), None)
    if twice is not None:
        raise ValueError(f"indices must name each image once; image {twice} is named again: leave it out")
    return tuple(positions)


def indices_text(positions: Iterable[int]) -> str:
    """Ascending positions as results name them: "0-99,2303"."""
    runs = groupby(enumerate(positions), key=lambda pair: pair[1] - pair[0])
    ends = ([position for _, position in run] for _, run in runs)
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in ends)


def shard_text(whole: str, part: int, parts: int) -> str:
    """The name of the `part`-th of `parts` interleaved parts of images that `indices_text` names."""
    return f"{whole} part {part} of {parts}"


def is_part(text: str) -> bool:
    """Whether a result names the images of a shard."""
    return " step " in text or _PART.search(text) is not None


def of_whole(text: str) -> str:
    """What all shards of one evaluation name alike: the images of the whole, or the end of "1-199 step 4"."""
    return _PART.sub("", text) if _PART.search(text) else text.partition("-")[2]


def whole_text(text: str, n: int) -> str:
    """The name of the n images of which a shard names its part."""
    return _PART.sub("", text) if _PART.search(text) else f"0-{n - 1}"


def of_the_first(text: str, n: int) -> bool:
    """Whether these are the first n test images, and not chosen ones."""
    return text == f"0-{n - 1}" or (text, n) == ("0", 1)


def short_indices(text: str) -> str:
    """The same for people: a long text is cut, and told from others by the beginning of its SHA-256."""
    if len(text) <= _SHORT:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: _SHORT - 20].rpartition(',')[0]},... ({digest})"


def image_count(n: int) -> str:
    """Such as "1,000 test images"."""
    return "1 test image" if n == 1 else f"{n:,} test images"


def chosen_text(text: str, n: int) -> str:
    """What stands behind the number of images: "" for the first n, or else which ones, as in " (0-99,2303)"."""
    return "" if of_the_first(text, n) else f" ({short_indices(text)})"


def images_text(text: str, n: int) -> str:
    """Such as "1,000 test images", with which ones unless they are the first."""
    return image_count(n) + chosen_text(text, n)


def first_or_chosen(text: str, n: int) -> str:
    """Such as "first 1,000 test images", or "2 test images (3,7)"."""
    return f"{'first ' if of_the_first(text, n) else ''}{images_text(text, n)}"


def _is_text(text: str) -> bool:
    return all(_RANGE.fullmatch(part.strip()) for part in text.split(","))


def _in_text(text: str) -> list[int]:
    return _in_parts(part.strip() for part in text.split(","))


def _digits(found: re.Match[str]) -> tuple[str, str, str]:
    """First, last and step of a range, without zeros before them."""
    first, last, step = (digits and (digits.lstrip("0") or "0") for digits in found.groups())
    return first, last or first, step or "1"


def _in_range(part: str) -> range:
    found = _RANGE.fullmatch(part)
    if found is None:
        raise ValueError(f"indices are whole numbers and ranges, such as 0-99,2303; got {brief(part)}")
    first, last, step = (int(digits) if len(digits) <= _DIGITS else 10**_DIGITS for digits in _digits(found))
    if first > last or step < 1:
        raise ValueError(f"a range of indices ascends, as 0-99; got {brief(part)}")
    # A slip of a digit must not fill the memory.
    if last > _LARGEST:
        raise ValueError(f"indices are below {_LARGEST + 1:,}, since no test set is larger; got {brief(part)}")
    return range(first, last + 1, step)


def _in_parts(parts: Iterable[str]) -> list[int]:
    """Positions of parts of a text; ranges that overlap again and again are not gone through."""
    ranges = list(map(_in_range, parts))
    if sum(map(len, ranges)) > _LARGEST + 1:
        raise ValueError("indices must name each image once; got overlapping ranges")
    return [position for found in ranges for position in found]


def _in_file(path: Path) -> list[int]:
    if not path.is_file():
        raise ValueError(f"indices are a file, or numbers and ranges such as 0-99,2303; got {brief(str(path))}")
    if path.suffix == ".npy":
        from advdpnp.array_files import read_array

        try:
            array = read_array(path, _MOST_BYTES)
        except (OSError, ValueError):
            raise ValueError(f"{path} is no array of numbers of numpy: write one with numpy.save") from None
        return _in_list(array, str(path))
    try:
        text = read_text(path, _MOST_BYTES)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text: expected one index in a line, a JSON list, or a .npy array") from None
    if text.lstrip().startswith("["):
        try:
            values = parsed(text)
        except ValueError as error:
            raise ValueError(f"{path} begins as a JSON list but is none ({error})") from None
        return _in_list(values, str(path))
    found: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = [part.strip() for part in line.split(",") if part.strip()]
        if wrong := next((part for part in parts if not _RANGE.fullmatch(part)), ""):
            raise ValueError(
                f"line {number} of {path} must be an index or a range, such as 7 or 0-99; got {brief(wrong)}"
            )
        found += parts
    try:
        return _in_parts(found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _in_list(values: Any, where: str) -> list[int]:
    """Whole numbers of a sequence, an array or a tensor."""
    found = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(found, Iterable) or isinstance(found, dict):
        raise ValueError(f"{where} must be a list of positions; got {brief(values)}")
    found = list(found)
    for value in found:
        # To Python, True is the number 1.
        if isinstance(value, bool):
            raise ValueError(f"{where} must hold positions, not a mask of true and false: give mask.nonzero() of it")
        if not isinstance(value, int) and not hasattr(value, "__index__"):
            raise ValueError(f"{where} must be whole numbers in one list; got {brief(value)} in it")
    return [value.__index__() for value in found]
