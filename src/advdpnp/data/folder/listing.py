"""The image files in a folder of images by class, listed before any is decoded.

The folder holds a folder for each class, or ready-made splits, train/, test/ and val/, with a folder for each class in
each of them.
"""

import hashlib
import json
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from advdpnp.data.folder.decode import is_image, is_unread_heif
from advdpnp.data.splits import Role, role_of, roles_of

# What systems and programs leave beside images.
_SYSTEM_FOLDERS = frozenset(("__MACOSX", "$RECYCLE.BIN", "System Volume Information", "@eaDir"))
_SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", "ehthumbs.db"))

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


class ImageFile(NamedTuple):
    """One image: name below the folder, as in "cat/1.png"; place on disk; class; size in bytes, time in ns; split."""

    name: str
    path: Path
    label: int
    size: int
    time: int
    role: Role | None = None


@dataclass(frozen=True)
class Listing:
    """The image files of a folder.

    Args:
        folder: absolute path.
        class_names: names of the class folders, of all splits, sorted.
        files: the images, sorted by split (train, validation, test), class and name.
        ignored: how many other files there are, by ending; hidden ones and those of systems are not counted.
        classes: names of the class folders of each ready-made split; of the folder itself, under None, if it has none.
        loose: images outside of the class folders.
        unused: folders beside the splits.
    """

    folder: Path
    class_names: tuple[str, ...]
    files: tuple[ImageFile, ...]
    ignored: dict[str, int]
    classes: Mapping[Role | None, tuple[str, ...]]
    loose: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def divided(self) -> bool:
        """Whether the folder holds ready-made splits."""
        return None not in self.classes

    def digest(self) -> str:
        """SHA-256 of names, sizes and times of modification: equal as long as no file was changed."""
        rows = [self.class_names, *((file.name, file.size, file.time) for file in self.files)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def counts(self, role: Role | None = None) -> dict[str, int]:
        """How many images each class has in a split."""
        found = Counter(file.label for file in self.files if file.role == role)
        return {name: found[label] for label, name in enumerate(self.class_names)}


def list_images(folder: Path) -> Listing:
    """The images of a folder, whatever its layout.

    Raises:
        FileNotFoundError: no such folder. ValueError: a file, or two folders for one split.
    """
    if not folder.exists():
        raise FileNotFoundError(f"no folder at {folder}: give a folder that holds one folder of images for each class")
    if not folder.is_dir():
        cure = ": unpack it first" if folder.suffix.lower() in _ARCHIVES else ""
        raise ValueError(f"{folder} must be a folder that holds one folder of images for each class; got a file{cure}")
    parts, unused = _parts(folder)
    loose = sorted(
        as_text(path.name) for place in {folder, *parts.values()} for path in _files_in(place) if is_image(path)
    )
    classes = {role: _folders(place) for role, place in parts.items()}
    names = sorted({name for found in classes.values() for name, _ in found})
    files: list[ImageFile] = []
    ignored = Counter(path.suffix.lower() for path in _files_in(folder) if is_unread_heif(path))
    for role, found in classes.items():
        for name, place in found:
            paths = list(_files_below(place))
            images = [path for path in paths if is_image(path)]
            ignored.update(path.suffix.lower() or "no ending" for path in paths if not is_image(path))
            listed = (_image_file(folder, path, names.index(name), role) for path in images)
            files += sorted(filter(None, listed))
    return Listing(
        folder=folder,
        class_names=tuple(names),
        files=tuple(files),
        ignored=dict(sorted(ignored.items())),
        classes={role: tuple(name for name, _ in found) for role, found in classes.items()},
        loose=tuple(loose),
        unused=unused,
    )


def _parts(folder: Path) -> tuple[dict[Role | None, Path], tuple[str, ...]]:
    """The folders of ready-made splits, in the order of their roles, and what lies beside; else the folder itself."""
    places = dict(_folders(folder))
    splits = {name for name, place in places.items() if role_of(name) and _folders(place)}
    others = places.keys() - splits
    # Beside other folders, "train" may be a class of vehicles: then one split alone does not do.
    if not splits or (others and len({role_of(name) for name in splits}) < 2):
        return {None: folder}, ()
    roles = roles_of(sorted(splits), str(folder))
    order: tuple[Role, ...] = ("train", "validation", "test")
    return {role: places[roles[role]] for role in order if role in roles}, tuple(sorted(others))


def _folders(place: Path) -> list[tuple[str, Path]]:
    entries = (entry for entry in place.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    return sorted((as_text(entry.name), entry) for entry in entries if entry.name not in _SYSTEM_FOLDERS)


def _files_in(place: Path) -> Iterator[Path]:
    return (entry for entry in place.iterdir() if not entry.name.startswith(".") and not entry.is_dir())


def as_text(name: str) -> str:
    """A file's name as valid, composed Unicode: the same on every system, and fit to be stored and printed."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _files_below(folder: Path) -> Iterator[Path]:
    """All files but hidden ones and those of systems; links are followed, into each folder once.

    Raises:
        ValueError: a link leads to a folder that holds this one, such as the root of the file system.
    """
    seen: set[Path] = set()
    begin = folder.resolve()
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = Path(parent).resolve()
        if real != begin and real in begin.parents:
            raise ValueError(f"{parent} is a link to {real}, a folder that this one is in: remove the link")
        # In place: the walk goes into no folder that is left out here.
        kept = (name for name in folders if not name.startswith(".") and name not in _SYSTEM_FOLDERS)
        folders[:] = [] if real in seen else sorted(kept)
        if real not in seen:
            yield from (Path(parent, n) for n in names if not n.startswith(".") and n.lower() not in _SYSTEM_FILES)
        seen.add(real)


def _refuse(error: OSError) -> None:
    raise error


def _image_file(folder: Path, path: Path, label: int, role: Role | None) -> ImageFile | None:
    """None for what is no file, such as a pipe; a link to nothing is listed, and found broken when it is read."""
    name = "/".join(map(as_text, path.relative_to(folder).parts))
    try:
        facts = path.stat()
    except OSError:
        return ImageFile(name, path, label, 0, 0, role)
    regular = stat.S_ISREG(facts.st_mode)
    return ImageFile(name, path, label, facts.st_size, facts.st_mtime_ns, role) if regular else None
