"""The image files in a folder of images by class, listed and checked before any is decoded."""

import hashlib
import json
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from advdpnp.data.folder.decode import is_image
from advdpnp.data.stratify import check_counts

_SPLITS = frozenset("train training trainset val valid validation dev eval test testing testset".split())


class ImageFile(NamedTuple):
    """One image: name below the folder, as in "cat/1.png"; place on disk; class; size in bytes, time in ns."""

    name: str
    path: Path
    label: int
    size: int
    time: int


@dataclass(frozen=True)
class Listing:
    """The image files of a folder.

    Args:
        folder: absolute path.
        class_names: names of the class folders, sorted.
        files: the images, sorted by class and name.
        ignored: how many other files there are, by ending; hidden ones are not counted.
    """

    folder: Path
    class_names: tuple[str, ...]
    files: tuple[ImageFile, ...]
    ignored: dict[str, int]

    def digest(self) -> str:
        """SHA-256 of names, sizes and times of modification: equal as long as no file was changed."""
        rows = [self.class_names, *((file.name, file.size, file.time) for file in self.files)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def scan(folder: Path) -> Listing:
    """List PATH/<class>/**/<image>.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no or one class, a class without images, images outside the classes, or ready-made splits.
    """
    if not folder.exists():
        raise FileNotFoundError(f"no folder at {folder}: give a folder that holds one folder of images for each class")
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder that holds one folder of images for each class; got a file")
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    classes = sorted((as_text(entry.name), entry) for entry in entries if entry.is_dir())
    names = [name for name, _ in classes]
    _check_layout(folder, names, sorted(as_text(e.name) for e in entries if is_image(e) and not e.is_dir()))
    files: list[ImageFile] = []
    ignored: Counter[str] = Counter()
    for label, (_, place) in enumerate(classes):
        found = list(_files_below(place))
        images = [path for path in found if is_image(path)]
        ignored.update(path.suffix.lower() or "no ending" for path in found if not is_image(path))
        files += sorted(filter(None, (_image_file(folder, path, label) for path in images)))
    counts = Counter(file.label for file in files)
    check_counts(str(folder), dict(zip(names, (counts[label] for label in range(len(names))))))
    return Listing(folder, tuple(names), tuple(files), dict(sorted(ignored.items())))


def as_text(name: str) -> str:
    """A file's name as valid, composed Unicode: the same on every system, and fit to be stored and printed."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _check_layout(folder: Path, names: Sequence[str], loose: Sequence[str]) -> None:
    wanted = f"{folder} must hold one folder of images for each class"
    if loose:
        raise ValueError(
            f"{wanted} and no other images; got {len(loose)} outside of them ({', '.join(loose[:3])}): "
            "move each into the folder of its class, or away"
        )
    if names and all(name.lower() in _SPLITS for name in names):
        raise ValueError(
            f"{wanted}; got {', '.join(names)}, which look like splits: "
            "give one of them, or merge them by class; advdpnp draws training and test images itself"
        )
    if len(names) < 2:
        raise ValueError(f"{wanted}, at least 2; got {names[0] if names else 'none'}: make a folder for each class")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{wanted}; got two that differ in Unicode form only ({twice[0]}): merge them")


def _files_below(folder: Path) -> Iterator[Path]:
    """All files but hidden ones; links are followed, into each folder once."""
    seen: set[Path] = set()
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = Path(parent).resolve()
        # In place: the walk goes into no folder that is left out here.
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            yield from (Path(parent, name) for name in names if not name.startswith("."))
        seen.add(real)


def _refuse(error: OSError) -> None:
    raise error


def _image_file(folder: Path, path: Path, label: int) -> ImageFile | None:
    """None for what is no file, such as a pipe; a link to nothing is listed, and found broken when it is read."""
    name = "/".join(map(as_text, path.relative_to(folder).parts))
    try:
        facts = path.stat()
    except OSError:
        return ImageFile(name, path, label, 0, 0)
    return ImageFile(name, path, label, facts.st_size, facts.st_mtime_ns) if stat.S_ISREG(facts.st_mode) else None
