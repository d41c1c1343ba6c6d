"""A folder of images by class as a data set: 80 % for training, 10 % for validation, 10 % for testing.

The split is a function of its seed and the sorted names, so runs with several training seeds share their test images.
A folder that holds ready-made splits keeps them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdpnp.data.augment import Augmentation
from advdpnp.data.digests import image_digests, repeated_text
from advdpnp.data.folder.cache import Cache, Facts, checksum
from advdpnp.data.folder.decode import HEIF_ENDINGS, decode_all
from advdpnp.data.folder.layout import remarks, scan
from advdpnp.data.folder.listing import Listing, as_text, list_images
from advdpnp.data.readers import data_root
from advdpnp.data.specs import Arrays, DataSpec, Split, slug
from advdpnp.data.stratify import MIN_IMAGES, check_counts, shuffled, split_positions, stratified, tenth
from advdpnp.ranges import Integer

MIN_SIZE, MAX_SIZE = 8, 1024


@dataclass(frozen=True, kw_only=True)
class FolderSpec(DataSpec):
    """Facts about a folder of images.

    Args:
        path: the folder.
        split_seed: seed of the split.
        checksum: SHA-256 of pixels, labels and class names.
        divided: whether it holds ready-made splits.
    """

    path: str
    split_seed: Integer
    checksum: str
    divided: bool = False

    @property
    def fingerprint(self) -> str:
        return self.checksum


def folder_spec(
    path: Path | str,
    image_size: int,
    split_seed: int = 0,
    root: Path | str | None = None,
    *,
    skip_broken: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> FolderSpec:
    """Facts about PATH/<class>/**/<image>; decodes the images, unless they are cached under `root`.

    A folder that holds train/ and test/, and val/ if it likes, with folders of classes in each, is split as it stands.

    Args:
        path: the folder; its folders are the classes, or the splits.
        image_size: S, in [8, 1024]: images become (3, S, S), as `advdpnp.data.folder.decode.decode` does it.
        split_seed: seed of the split, independent of the seed of training.
        root: see `data_root`.
        skip_broken: leave out images that cannot be read, instead of refusing the folder.
        tell: called with lines on the progress of decoding, and on what is left out.
    Raises:
        ValueError: a layout without classes, too few images, broken images, or splits of different classes.
        FileNotFoundError: no such folder.
    """
    if not str(path):
        raise ValueError("folder: needs the path of a folder of images after it; got none")
    if not MIN_SIZE <= image_size <= MAX_SIZE:
        raise ValueError(f"the image size must be from {MIN_SIZE} to {MAX_SIZE}; got {image_size}: the usual is 32")
    listing = scan(Path(path).expanduser().resolve())
    if listing.divided and split_seed:
        raise ValueError(f"{listing.folder} holds its own test images: leave the split seed out; got {split_seed}")
    cache = cache_of(listing.folder, image_size, split_seed, data_root(root))
    facts = cache.facts()
    # Decoded again where some could not be read: a changed permission does not show in the listing.
    if facts is None or facts.listing != listing.digest() or (facts.broken and not skip_broken):
        tell(f"reading {len(listing.files):,} images of {len(listing.class_names)} classes in {listing.folder}")
        facts, _ = decode_listing(listing, image_size, split_seed, cache, tell)
    if facts.broken and not skip_broken:
        raise ValueError(
            f"{_examples(facts.broken)} of {len(listing.files)} in {listing.folder} cannot be read: "
            "repair or remove them, or leave them out with --skip-broken"
        )
    _check_decoded(listing, facts)
    for line in (*remarks(listing), *_left_out(facts.broken, listing.ignored), facts.repeated):
        if line:
            tell(line)
    return _spec(listing.folder, image_size, split_seed, facts)


def read_folder(spec: FolderSpec, split: Split, root: Path) -> Arrays:
    """One split of a folder: "train" sorted by name, "test" shuffled, so that its first images are of mixed classes.

    Raises:
        ValueError: the images are not those that `spec` describes. FileNotFoundError: the folder is gone.
    """
    facts, (pixels, labels) = as_it_is(spec, root)
    if facts.checksum != spec.checksum:
        raise ValueError(
            f"{spec.path} has changed: expected images with checksum {spec.checksum[:12]}, as they were for this run; "
            f"got {facts.checksum[:12]}: put the former images back, or train again"
        )
    train, test = split_rows(torch.tensor(labels), spec)
    chosen = (train if split == "train" else test).numpy()
    return pixels[chosen], labels[chosen]


def split_rows(labels: Tensor, spec: FolderSpec) -> tuple[Tensor, Tensor]:
    """Positions of the training and of the test images among all images of a folder, (N,) labels.

    Those of ready-made splits are in the order of the splits: train, validation, test.
    """
    if not spec.divided:
        return split_positions(labels, spec.split_seed)
    rows = torch.arange(len(labels))
    return rows[: spec.train_size], shuffled(rows[spec.train_size :], spec.split_seed)


def cache_of(folder: Path, image_size: int, split_seed: int, root: Path) -> Cache:
    """Where the decoded images of a folder are kept."""
    key = hashlib.sha256(json.dumps([str(folder), image_size, split_seed]).encode()).hexdigest()[:10]
    return Cache(root / "folders" / f"{slug(as_text(folder.name))}-{key}")


def as_it_is(spec: FolderSpec, root: Path) -> tuple[Facts, Arrays]:
    """The images that a folder holds now: the cached ones if no file was changed since, else decoded anew.

    Raises:
        FileNotFoundError: the folder is gone.
    """
    folder, image_size = Path(spec.path), spec.image_shape[1]
    cache = cache_of(folder, image_size, spec.split_seed, root)
    if not folder.exists():
        raise FileNotFoundError(_gone(spec, cache))
    facts, listing = cache.facts(), list_images(folder)
    if facts is not None and facts.listing == listing.digest():
        arrays = cache.arrays(facts)
        if arrays is not None:
            return facts, arrays
    return decode_listing(listing, image_size, spec.split_seed, cache, lambda line: None)


def _gone(spec: FolderSpec, cache: Cache) -> str:
    facts = cache.facts()
    kept = facts is not None and facts.checksum == spec.checksum
    copies = f"; its decoded images are still in {cache.place}, but are not used without it" if kept else ""
    return f"the folder {spec.path} is not there: put it back, or give its new place as --data folder:PATH{copies}"


def _spec(folder: Path, image_size: int, split_seed: int, facts: Facts) -> FolderSpec:
    counts, parts = facts.images_per_class, facts.parts
    images, test = sum(counts.values()), sum(map(tenth, counts.values()))
    validation = 0
    if parts:
        test, validation = parts["test"], parts.get("validation", 0)
    # Of undivided images a tenth of all, so that it is as many as there are test images.
    held = validation or tenth(images if not parts else images - test)
    return FolderSpec(
        name=f"folder-{slug(as_text(folder.name))}",
        image_shape=(3, image_size, image_size),
        class_names=tuple(counts),
        train_size=images - test,
        test_size=test,
        eps=8 / 255,
        holdout=held if images > test else 0,
        augmentation=Augmentation(padding=image_size // 8, mode="reflect", flip=True),
        validation_size=validation,
        path=str(folder),
        split_seed=split_seed,
        checksum=facts.checksum,
        divided=bool(parts),
    )


def _check_decoded(listing: Listing, facts: Facts) -> None:
    """Raise ValueError where what could be read is too little."""
    if not listing.divided:
        check_counts(str(listing.folder), facts.images_per_class)
    elif not facts.parts["test"]:
        raise ValueError(f"{listing.folder} has no test images that can be read")


def decode_listing(
    listing: Listing, image_size: int, split_seed: int, cache: Cache, tell: Callable[[str], None]
) -> tuple[Facts, Arrays]:
    """Decode all files that can be read, and cache them, unless they are too few for a data set."""
    pixels, broken = decode_all([file.path for file in listing.files], image_size, tell)
    good = [row for row in range(len(listing.files)) if row not in broken]
    files = [listing.files[row] for row in good]
    labels = np.array([file.label for file in files], np.int64)
    pixels = pixels[good] if broken else pixels
    counts = np.bincount(labels, minlength=len(listing.class_names)).tolist()
    roles = [role for role in listing.classes if role is not None]
    facts = Facts(
        listing=listing.digest(),
        checksum=checksum(listing.class_names, pixels, labels),
        images_per_class=dict(zip(listing.class_names, counts)),
        broken={listing.files[row].name: reason for row, reason in broken.items()},
        ignored=listing.ignored,
        names=[file.name for file in files],
        parts={str(role): sum(file.role == role for file in files) for role in roles},
    )
    if _is_usable(facts):
        spec = _spec(listing.folder, image_size, split_seed, facts)
        train, test = split_rows(torch.from_numpy(labels), spec)
        facts = replace(facts, repeated=_repeated(facts.names, pixels, train, test))
        cache.write(facts, (pixels, labels), _split_by_name(facts.names, labels, spec))
    return facts, (pixels, labels)


def _is_usable(facts: Facts) -> bool:
    """Whether there are enough images to be split."""
    if facts.parts:
        return facts.parts.get("test", 0) > 0
    return min(facts.images_per_class.values(), default=0) >= MIN_IMAGES


def _repeated(names: list[str], pixels: NDArray[np.uint8], train: Tensor, test: Tensor) -> str:
    digests = image_digests(pixels)
    found = [([digests[row] for row in rows], [names[row] for row in rows]) for rows in (train.tolist(), test.tolist())]
    (of_train, train_names), (of_test, test_names) = found
    return repeated_text(of_train, of_test, train_names, test_names)


def _split_by_name(names: list[str], labels: NDArray[np.int64], spec: FolderSpec) -> Mapping[str, list[str]]:
    """File names by split, with the images that the recipe `default` holds out as validation."""
    every = torch.from_numpy(labels)
    train, test = split_rows(every, spec)
    held = torch.arange(len(train))[len(train) - spec.validation_size :]
    if not spec.validation_size and len(train):
        held = stratified(every[train], spec.holdout, "holdout")
    rest = torch.ones(len(train), dtype=torch.bool)
    rest[held] = False
    parts = {"train": train[rest], "validation": train[held], "test": test}
    return {part: [names[row] for row in rows.tolist()] for part, rows in parts.items()}


def _examples(broken: dict[str, str]) -> str:
    """ "2 images (cat/1.png: empty; ...)"."""
    shown = "; ".join(f"{name}: {reason}" for name, reason in list(broken.items())[:3])
    return f"{len(broken)} image{'s' * (len(broken) > 1)} ({shown}{'; ...' * (len(broken) > 3)})"


def _left_out(broken: dict[str, str], ignored: dict[str, int]) -> list[str]:
    lines = []
    if broken:
        lines.append(f"warning: left out what cannot be read: {_examples(broken)}")
    others = {ending: count for ending, count in ignored.items() if ending not in HEIF_ENDINGS}
    if others:
        kinds = ", ".join(f"{ending}: {count}" for ending, count in others.items())
        lines.append(f"files that are no images and were not used, by ending: {kinds}")
    return lines
