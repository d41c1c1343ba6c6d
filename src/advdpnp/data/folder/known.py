"""The images of a folder that a run knows: found again after others have been added, removed or changed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch

from advdpnp.data.digests import image_digests
from advdpnp.data.folder.cache import Facts
from advdpnp.data.folder.folder_spec import FolderSpec, as_it_is, cache_of, split_rows
from advdpnp.data.specs import Arrays, Split
from advdpnp.ranges import Natural
from advdpnp.stored_values import check_schema, check_value

SCHEMA = 1
_SHOWN = 3


class KnownImage(NamedTuple):
    """One image: name below the folder, digest of its pixels, number of its class."""

    name: str
    digest: str
    label: int

    @property
    def identity(self) -> tuple[str, int]:
        """What makes it the same image in the same class, under whatever name."""
        return self.digest, self.label


class _Image(TypedDict):
    name: str
    digest: str
    label: Natural


class _Stored(TypedDict):
    checksum: str
    train: list[list[Any]]
    test: list[list[Any]]


@dataclass(frozen=True)
class KnownImages:
    """The images that a run was trained and is tested on, in the order of its splits.

    Args:
        checksum: of the folder as it was, as in the run's `FolderSpec`.
        train, test: the images of the splits.
    """

    checksum: str
    train: tuple[KnownImage, ...]
    test: tuple[KnownImage, ...]

    def split(self, split: Split) -> tuple[KnownImage, ...]:
        """The images of one split."""
        return self.train if split == "train" else self.test

    def check_counts(self, spec: FolderSpec) -> None:
        """Raise ValueError unless there are as many as the run's splits have, all of its classes."""
        for split, expected in (("train", spec.train_size), ("test", spec.test_size)):
            found = self.train if split == "train" else self.test
            if len(found) != expected or any(image.label >= spec.num_classes for image in found):
                raise ValueError(f"{len(found)} {split} images, not {expected} of {spec.num_classes} classes")

    def as_json(self) -> dict[str, Any]:
        """JSON values that `read` takes."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "KnownImages":
        """The images that `as_json` has written; ValueError, KeyError or TypeError where it has not."""
        check_schema(values, SCHEMA)
        check_value("images.json", values, _Stored)
        train, test = (tuple(map(_image, values[name])) for name in ("train", "test"))
        return cls(values["checksum"], train, test)


def _image(values: list[Any]) -> KnownImage:
    found = dict(zip(KnownImage._fields, values, strict=True))
    check_value("an image", found, _Image)
    return KnownImage(**found)


@dataclass(frozen=True, eq=False)
class Found:
    """One split of a folder that has changed.

    Args:
        arrays: pixels and labels of all images of the split; the pixels of those that are missing are 0.
        missing: positions of the images that are no longer there as they were.
        changes: in words, what is different about the folder.
    """

    arrays: Arrays
    missing: tuple[int, ...]
    changes: str


def known_images(spec: FolderSpec, root: Path) -> KnownImages | None:
    """The images that `spec` describes, as they are cached; None if others are by now, or none."""
    cache = cache_of(Path(spec.path), spec.image_shape[1], spec.split_seed, root)
    facts = cache.facts()
    arrays = cache.arrays(facts) if facts is not None and facts.checksum == spec.checksum else None
    if facts is None or arrays is None or len(facts.names) != len(arrays[1]):
        return None
    every = _present(facts, arrays, spec.class_names)
    train, test = split_rows(torch.tensor(arrays[1]), spec)
    return KnownImages(spec.checksum, *(tuple(every[row] for row in rows.tolist()) for rows in (train, test)))


def find_known(spec: FolderSpec, known: KnownImages, split: Split, root: Path) -> Found:
    """The images of one split of a run in its folder as it is now.

    An image is the same if its pixels and its class are; its name does not matter. One that was changed is none that
    the run knows, and is left out.

    Raises:
        FileNotFoundError: the folder is gone. ValueError: none of the images is there.
    """
    facts, (pixels, labels) = as_it_is(spec, root)
    present = _present(facts, (pixels, labels), spec.class_names)
    rows = {image.identity: row for row, image in enumerate(present)}
    wanted = known.split(split)
    missing = tuple(place for place, image in enumerate(wanted) if image.identity not in rows)
    if len(missing) == len(wanted):
        raise ValueError(
            f"{spec.path} holds none of the {len(wanted)} {split} images of this run as they were: put them back, or "
            "train again"
        )
    chosen = np.zeros((len(wanted), *spec.image_shape), np.uint8)
    for place, image in enumerate(wanted):
        row = rows.get(image.identity)
        if row is not None:
            chosen[place] = pixels[row]
    numbers = np.array([image.label for image in wanted], np.int64)
    return Found((chosen, numbers), missing, _changes(known, present, facts.broken))


def _present(facts: Facts, arrays: Arrays, class_names: tuple[str, ...]) -> list[KnownImage]:
    """The images of a folder as they are; a class that the run does not know has the number -1."""
    pixels, labels = arrays
    numbers = [class_names.index(name) if name in class_names else -1 for name in facts.images_per_class]
    digests = image_digests(pixels)
    rows = zip(facts.names, digests, labels.tolist(), strict=True)
    return [KnownImage(name, digest, numbers[label]) for name, digest, label in rows]


def _changes(known: KnownImages, present: list[KnownImage], broken: Iterable[str]) -> str:
    """ "1 added (cat/9.png), 2 gone (cat/1.png, dog/2.png), 1 changed (dog/3.png)"."""
    before, after = [*known.train, *known.test], {image.identity for image in present}
    names_before, names_after = {image.name for image in before}, {image.name for image in present} | set(broken)
    copies = Counter(image.identity for image in before)
    copies.subtract(image.identity for image in present)
    found: dict[str, list[str]] = {
        "added": [image.name for image in present if image.name not in names_before and copies[image.identity] < 0],
        "gone": [image.name for image in before if image.identity not in after and image.name not in names_after],
        "changed": [image.name for image in before if image.identity not in after and image.name in names_after],
    }
    return ", ".join(f"{len(names)} {what} ({_few(names)})" for what, names in found.items() if names)


def _few(names: list[str]) -> str:
    return ", ".join(sorted(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
