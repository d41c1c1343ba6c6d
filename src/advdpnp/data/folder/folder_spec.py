"""A folder of images by class as a data set: 80 % for training, 10 % for validation, 10 % for testing.

The split is a function of its seed and the sorted names, so runs with several training seeds share their test images.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advdpnp import noise
from advdpnp.data.augment import Augmentation
from advdpnp.data.folder.cache import Cache, Facts, checksum
from advdpnp.data.folder.decode import decode_all
from advdpnp.data.folder.listing import MIN_IMAGES, Listing, as_text, check_counts, scan
from advdpnp.data.readers import data_root
from advdpnp.data.specs import Arrays, DataSpec, Split
from advdpnp.data.stratify import stratified
from advdpnp.folder_names import folder_name
from advdpnp.ranges import Integer

MIN_SIZE, MAX_SIZE = 8, 1024


@dataclass(frozen=True, kw_only=True)
class FolderSpec(DataSpec):
    """Facts about a folder of images.

    Args:
        path: the folder.
        split_seed: seed of the split.
        checksum: SHA-256 of pixels, labels and class names.
    """

    path: str
    split_seed: Integer
    checksum: str


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

    Args:
        path: the folder; its folders are the classes.
        image_size: S, in [8, 1024]: images become (3, S, S), as `advdpnp.data.folder.decode.decode` does it.
        split_seed: seed of the split, independent of the seed of training.
        root: see `data_root`.
        skip_broken: leave out images that cannot be read, instead of refusing the folder.
        tell: called with lines on the progress of decoding, and on what is left out.
    Raises:
        ValueError: a layout without classes, too few images, broken images. FileNotFoundError: no such folder.
    """
    if not MIN_SIZE <= image_size <= MAX_SIZE:
        raise ValueError(f"the image size must be from {MIN_SIZE} to {MAX_SIZE}; got {image_size}: the usual is 32")
    listing = scan(Path(path).expanduser().resolve())
    cache = _cache(listing.folder, image_size, split_seed, data_root(root))
    facts = cache.facts()
    # Decoded again where some could not be read: a changed permission does not show in the listing.
    if facts is None or facts.listing != listing.digest() or (facts.broken and not skip_broken):
        tell(f"reading {len(listing.files):,} images of {len(listing.class_names)} classes in {listing.folder}")
        facts, _ = _decode(listing, image_size, split_seed, cache, tell)
    if facts.broken and not skip_broken:
        raise ValueError(
            f"{_examples(facts.broken)} of {len(listing.files)} in {listing.folder} cannot be read: "
            "repair or remove them, or leave them out with --skip-broken"
        )
    check_counts(listing.folder, facts.images_per_class)
    _tell_what_is_left_out(facts.broken, listing.ignored, tell)
    return _spec(listing.folder, image_size, split_seed, facts)


def read_folder(spec: FolderSpec, split: Split, root: Path) -> Arrays:
    """One split of a folder: "train" sorted by name, "test" shuffled, so that its first images are of mixed classes.

    Raises:
        ValueError: the images are not those that `spec` describes. FileNotFoundError: neither the folder nor its
            decoded images are there.
    """
    facts, (pixels, labels) = _current(spec, root)
    if facts.checksum != spec.checksum:
        raise ValueError(
            f"{spec.path} has changed: expected images with checksum {spec.checksum[:12]}, as they were for this run; "
            f"got {facts.checksum[:12]}: put the former images back, or train again"
        )
    train, test = split_positions(torch.tensor(labels), spec.split_seed)
    chosen = (train if split == "train" else test).numpy()
    return pixels[chosen], labels[chosen]


def training_files(spec: FolderSpec, root: Path) -> tuple[str, ...]:
    """Names below the folder of the training images, in the order of `read_folder`; () where they are not known."""
    place = _cache(Path(spec.path), spec.image_shape[1], spec.split_seed, root).place
    labels = {name: label for label, name in enumerate(spec.class_names)}
    try:
        split = json.loads((place / "split.json").read_text("utf-8"))
        names = [(labels[name.partition("/")[0]], name) for name in [*split["train"], *split["validation"]]]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple(name for _, name in sorted(names)) if len(names) == spec.train_size else ()


def split_positions(labels: Tensor, split_seed: int) -> tuple[Tensor, Tensor]:
    """Positions of the training and of the test images.

    Args:
        labels: (N,) int64, at least 3 images of each class.
        split_seed: any integer.
    Returns:
        Positions in `labels`: of the training images, sorted, and of the test images, shuffled.
    """
    chosen = []
    for label in range(int(labels.max()) + 1):
        (rows,) = torch.where(labels == label)
        order = noise.permutation(split_seed, "folder-test", label, len(rows))
        chosen.append(rows[order[: _tenth(len(rows))]])
    test = torch.cat(chosen)
    in_test = torch.zeros(len(labels), dtype=torch.bool)
    in_test[test] = True
    return torch.where(~in_test)[0], test[noise.permutation(split_seed, "folder-order", 0, len(test))]


def _tenth(count: int) -> int:
    """A tenth, rounded half up, and at least 1."""
    return max(1, (count + 5) // 10)


def _slug(folder: Path) -> str:
    return folder_name(as_text(folder.name).replace("+", "-")) or "images"


def _cache(folder: Path, image_size: int, split_seed: int, root: Path) -> Cache:
    key = hashlib.sha256(json.dumps([str(folder), image_size, split_seed]).encode()).hexdigest()[:10]
    return Cache(root / "folders" / f"{_slug(folder)}-{key}")


def _spec(folder: Path, image_size: int, split_seed: int, facts: Facts) -> FolderSpec:
    counts = facts.images_per_class
    images, test = sum(counts.values()), sum(map(_tenth, counts.values()))
    return FolderSpec(
        name=f"folder-{_slug(folder)}",
        image_shape=(3, image_size, image_size),
        class_names=tuple(counts),
        train_size=images - test,
        test_size=test,
        eps=8 / 255,
        holdout=_tenth(images),
        augmentation=Augmentation(padding=image_size // 8, mode="reflect", flip=True),
        path=str(folder),
        split_seed=split_seed,
        checksum=facts.checksum,
    )


def _current(spec: FolderSpec, root: Path) -> tuple[Facts, Arrays]:
    """The images as they are now: the cached ones if no file was changed since, else decoded anew."""
    folder, image_size = Path(spec.path), spec.image_shape[1]
    cache = _cache(folder, image_size, spec.split_seed, root)
    facts, listing = cache.facts(), scan(folder) if folder.exists() else None
    if facts is not None and (listing is None or facts.listing == listing.digest()):
        arrays = cache.arrays(facts)
        if arrays is not None:
            return facts, arrays
    if listing is None:
        raise FileNotFoundError(
            f"no folder at {folder}, and {cache.place} does not hold its decoded images: put the folder back there"
        )
    return _decode(listing, image_size, spec.split_seed, cache, lambda line: None)


def _decode(
    listing: Listing, image_size: int, split_seed: int, cache: Cache, tell: Callable[[str], None]
) -> tuple[Facts, Arrays]:
    """Decode all files that can be read, and cache them."""
    pixels, broken = decode_all([file.path for file in listing.files], image_size, tell)
    good = [row for row in range(len(listing.files)) if row not in broken]
    names = [listing.files[row].name for row in good]
    labels = np.array([listing.files[row].label for row in good], np.int64)
    pixels = pixels[good] if broken else pixels
    counts = np.bincount(labels, minlength=len(listing.class_names)).tolist()
    facts = Facts(
        listing=listing.digest(),
        checksum=checksum(listing.class_names, pixels, labels),
        images_per_class=dict(zip(listing.class_names, counts)),
        broken={listing.files[row].name: reason for row, reason in broken.items()},
        ignored=listing.ignored,
    )
    if min(counts) >= MIN_IMAGES:
        spec = _spec(listing.folder, image_size, split_seed, facts)
        cache.write(facts, (pixels, labels), _split_by_name(names, labels, spec))
    return facts, (pixels, labels)


def _split_by_name(names: Sequence[str], labels: NDArray[np.int64], spec: FolderSpec) -> dict[str, list[str]]:
    """File names by split, with the images that the recipe `default` holds out as validation."""
    every = torch.from_numpy(labels)
    train, test = split_positions(every, spec.split_seed)
    held = stratified(every[train], spec.holdout, "holdout")
    rest = torch.ones(len(train), dtype=torch.bool)
    rest[held] = False
    parts = {"train": train[rest], "validation": train[held], "test": test}
    return {part: [names[row] for row in rows.tolist()] for part, rows in parts.items()}


def _examples(broken: dict[str, str]) -> str:
    """ "2 images (cat/1.png: empty; ...)"."""
    shown = "; ".join(f"{name}: {reason}" for name, reason in list(broken.items())[:3])
    return f"{len(broken)} image{'s' * (len(broken) > 1)} ({shown}{'; ...' * (len(broken) > 3)})"


def _tell_what_is_left_out(broken: dict[str, str], ignored: dict[str, int], tell: Callable[[str], None]) -> None:
    if broken:
        tell(f"warning: left out what cannot be read: {_examples(broken)}")
    if ignored:
        kinds = ", ".join(f"{ending}: {count}" for ending, count in ignored.items())
        tell(f"files that are no images and were not used, by ending: {kinds}")
