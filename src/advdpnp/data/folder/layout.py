"""What a folder of images by class must look like to be trained on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from advdpnp.data.folder.decode import heif_text
from advdpnp.data.folder.listing import Listing, list_images
from advdpnp.data.splits import Role, role_of
from advdpnp.data.stratify import check_counts

# Of ready-made splits: one to learn from, and one that may be held out where no validation images are there.
_MIN_TRAIN = 2


def scan(folder: Path) -> Listing:
    """List PATH/<class>/**/<image>, or PATH/<split>/<class>/**/<image>, and check it.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no or one class, a class with too few images, images outside the classes, a ready-made training set
            without a test set, or a class that is in the test set alone.
    """
    listing = list_images(folder)
    try:
        (_check_splits if listing.divided else _check_classes)(listing)
    except ValueError as error:
        hint = heif_text(listing.ignored)
        raise ValueError(f"{error}; {hint}" if hint else str(error)) from None
    return listing


def remarks(listing: Listing) -> Iterator[str]:
    """Lines on what a user may not expect of a folder that can be used."""
    if listing.divided:
        places = {file.role: file.name.partition("/")[0] for file in listing.files}
        parts = ", ".join(
            f"{places[role]}/ with {sum(listing.counts(role).values())} {purpose}"
            for role, purpose in _PURPOSES.items()
            if role in places
        )
        unused = f"; not used: {', '.join(listing.unused)}" if listing.unused else ""
        yield f"{listing.folder} holds ready-made splits: {parts}{unused}"
        for role in ("validation", "test"):
            if role in listing.classes:
                missing = [name for name, count in listing.counts(role).items() if not count]
                if missing:
                    yield f"no {role} images of: {', '.join(missing)}"
    twice = [name for name, count in Counter(name.lower() for name in listing.class_names).items() if count > 1]
    if twice:
        alike = [name for name in listing.class_names if name.lower() == twice[0]]
        yield f"warning: {' and '.join(alike)} are two classes, whose names differ in case only"
    hint = heif_text(listing.ignored)
    if hint:
        yield f"warning: {hint}"


_PURPOSES: dict[Role, str] = {
    "train": "images to train",
    "validation": "to choose the best weights",
    "test": "to test",
}


def _check_classes(listing: Listing) -> None:
    folder, names = listing.folder, listing.class_names
    wanted = f"{folder} must hold one folder of images for each class"
    _check_loose(listing, wanted)
    if names and all(map(role_of, names)):
        bare = [name for name in names if not any(entry.is_dir() for entry in (folder / name).iterdir())]
        raise ValueError(
            f"{wanted}; got {', '.join(names)}, which look like splits, but {', '.join(bare)} holds no folders of "
            "classes: sort its images into a folder for each class"
        )
    if len(names) < 2:
        raise ValueError(f"{wanted}, at least 2; got {names[0] if names else 'none'}: {_instead(folder, names)}")
    twice = [name for name, count in Counter(names_on_disk(listing)).items() if count > 1]
    if twice:
        raise ValueError(f"{wanted}; got two that differ in Unicode form only ({twice[0]}): merge them")
    check_counts(str(folder), listing.counts())


def _instead(folder: Path, names: Sequence[str]) -> str:
    within = [entry for entry in (folder / names[0]).iterdir() if entry.is_dir()] if names else []
    return f"did you mean {folder / names[0]}?" if len(within) > 1 else "make a folder for each class"


def names_on_disk(listing: Listing) -> tuple[str, ...]:
    """Names of the class folders, with those twice that differ on disk, but not in composed Unicode."""
    return listing.classes.get(None, ())


def _check_loose(listing: Listing, wanted: str) -> None:
    loose = listing.loose
    if loose:
        raise ValueError(
            f"{wanted} and no other images; got {len(loose)} outside of them ({', '.join(loose[:3])}): "
            "move each into the folder of its class, or away"
        )


def _check_splits(listing: Listing) -> None:
    folder, classes = listing.folder, listing.classes
    _check_loose(listing, f"{folder} must hold one folder of images for each class in each split")
    if "train" not in classes:
        _check_test_alone(listing)
        return
    if "test" not in classes:
        raise ValueError(
            f"{folder} has a train folder, but no test and no val: add one, or give the train folder itself, of which "
            "a tenth then becomes the test set"
        )
    known = {name for name, count in listing.counts("train").items() if count}
    for role, names in classes.items():
        extra = [name for name in names if name not in known]
        if extra and role != "train":
            nearest = next((name for name in known if name.lower() == extra[0].lower()), None)
            hint = f" (train has {nearest})" if nearest else ""
            raise ValueError(
                f"the classes of {folder} must be those of its training images, {', '.join(sorted(known))}; {role} "
                f"has {', '.join(extra[:3])}{hint}: give both splits the same folders"
            )
    if len(listing.class_names) < 2:
        raise ValueError(f"{folder} must hold at least 2 classes; got {', '.join(listing.class_names) or 'none'}")
    least = 1 if "validation" in classes else _MIN_TRAIN
    check_counts(f"the training images of {folder}", listing.counts("train"), least)
    _check_test_alone(listing)


def _check_test_alone(listing: Listing) -> None:
    if not any(listing.counts("test").values()):
        raise ValueError(f"{listing.folder} has no test images: add some to its test folder")
