"""Images that the caller gives in Python as a data set: what is kept of them, and how they are split."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from advdpnp.data.augment import Augmentation
from advdpnp.data.digests import image_digests, repeated_text
from advdpnp.data.images import Images
from advdpnp.data.memory.sources import Gathered, gather
from advdpnp.data.specs import DataSpec, Split, slug
from advdpnp.data.splits import Role, roles_of
from advdpnp.data.stratify import check_counts, split_positions, tenth
from advdpnp.ranges import Integer

# What a name of such a set begins with, so that it is none of the published ones.
PREFIX = "given-"


@dataclass(frozen=True, kw_only=True)
class GivenSpec(DataSpec):
    """Facts about images that were given in Python, and, as long as the program runs, the images.

    Args:
        split_seed: seed of the choice of test images, where none were given.
        train_checksum: SHA-256 of the training images and labels, as they were given; "" for none.
        validation_checksum: likewise; "" where training images are held out instead.
        test_checksum: likewise; "" where a tenth of the training images was set aside.
        images: the images by split; None for facts that were read from a run.
    """

    split_seed: Integer
    train_checksum: str
    validation_checksum: str = ""
    test_checksum: str = ""
    images: Mapping[Split, Images] | None = field(default=None, compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        return self.test_checksum or self.train_checksum

    def with_images_of(self, other: DataSpec) -> "GivenSpec":
        return replace(self, images=other.images) if isinstance(other, GivenSpec) else self

    def read(self, split: Split) -> Images:
        """One split.

        Raises:
            FileNotFoundError: these are facts alone.
        """
        if self.images is None:
            raise FileNotFoundError(
                f"the images of {self.name} ({self.train_size} to train, {self.test_size} to test) were given in "
                "Python and are not stored: give them again there, as in advdpnp.evaluate(run, on_data=(x, y))"
            )
        return self.images[split]


def given(
    data: Any,
    *,
    name: str = "",
    class_names: Sequence[str] = (),
    image_size: int | None = None,
    split_seed: int = 0,
    eps: float = 8 / 255,
    tell: Callable[[str], None] = lambda line: None,
) -> GivenSpec:
    """Images in memory as a data set, to train and evaluate on.

    Without test images a tenth of each class is set aside, as of a folder of images.

    Args:
        data: images and labels, or a mapping of "train" and, if there are any, "validation" and "test" to such, as a
            HuggingFace `DatasetDict` is. Images and labels are a pair (x, y) of numpy arrays or tensors: x (N, H, W),
            (N, H, W, channels) or (N, channels, H, W), bytes or floats in [0, 1], y integers from 0; or a map-style
            `torch.utils.data.Dataset` of (image, label), or a HuggingFace `Dataset`, of PIL images, arrays or tensors.
        name: what results call it, after "given-"; by default as the data set calls itself.
        class_names: one for each class; by default those of the data set, else numbers.
        image_size: side S of the square to which images are cut and resized, as those of a folder; None leaves them.
        split_seed: seed of the choice of test images.
        eps: the usual linf radius, for images in [0, 1].
        tell: called with lines on what was found.
    Raises:
        ValueError: in one line, what does not fit: values outside of [0, 1], labels that are no numbers from 0, images
            of several sizes, data sets that are streamed or change from one reading to the next.
    """
    parts = _parts(data, image_size, tell)
    names, numbered = _names(parts, class_names)
    _check_labels(parts, names, numbered, tell)
    images = {role: Images(part.pixels, part.labels, _levels(part)) for role, part in parts.items()}
    shape = _one_shape(parts)
    first = next(iter(parts.values()))
    facts = GivenSpec(
        name=PREFIX + slug(name or first.name or "images").lower(),
        image_shape=shape,
        class_names=names,
        train_size=0,
        test_size=0,
        eps=eps,
        holdout=0,
        # A mirrored digit or letter is another sign, and those are often grey.
        augmentation=Augmentation(padding=min(shape[1:]) // 8, mode="reflect", flip=shape[0] == 3),
        levels=_levels(first),
        split_seed=split_seed,
        train_checksum=_checksum(images.get("train")),
        validation_checksum=_checksum(images.get("validation")),
        test_checksum=_checksum(images.get("test")),
    )
    found = _with_splits(facts, images)
    _tell(found, parts, tell)
    return found


def _parts(data: Any, image_size: int | None, tell: Callable[[str], None]) -> dict[Role, Gathered]:
    """The parts of a data set, read, training first."""
    if not isinstance(data, Mapping):
        return {"train": gather(data, image_size)}
    roles = roles_of(map(str, data), "the data set")
    if not roles:
        raise ValueError(f"a mapping must have train or test; got {', '.join(map(str, data)) or 'nothing'}")
    unused = [str(name) for name in data if name not in roles.values()]
    if unused:
        tell(f"not used: {', '.join(unused)}")
    read: dict[Role, Gathered] = {}
    order: tuple[Role, ...] = ("train", "validation", "test")
    for role in (role for role in order if role in roles):
        try:
            read[role] = gather(data[roles[role]], image_size)
        except ValueError as error:
            raise ValueError(f"{roles[role]}: {error}") from None
    if len({part.pixels.shape[1] for part in read.values()}) > 1:
        read = {role: replace(part, pixels=part.pixels.expand(-1, 3, -1, -1)) for role, part in read.items()}
    return read


def _one_shape(parts: Mapping[Role, Gathered]) -> tuple[int, int, int]:
    shapes = {role: tuple(part.pixels.shape[1:]) for role, part in parts.items()}
    if len(set(shapes.values())) > 1:
        texts = ", ".join(f"{'x'.join(map(str, shape))} to {role}" for role, shape in shapes.items())
        raise ValueError(f"images must be of one size; got {texts}: give an image_size to advdpnp.given")
    channels, height, width = next(iter(shapes.values()))
    return channels, height, width


def _levels(part: Gathered) -> int:
    return 255 if part.pixels.dtype == torch.uint8 else 1


def _names(parts: Mapping[Role, Gathered], given_names: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Names of the classes, and whether they are but numbers, so that their count comes from the labels."""
    lists = dict.fromkeys(part.class_names for part in parts.values() if part.class_names)
    if given_names:
        return tuple(map(str, given_names)), False
    if len(lists) > 1:
        raise ValueError("the parts of the data set name other classes: give them as class_names")
    if lists:
        return next(iter(lists)), False
    return tuple(str(label) for label in range(int(next(iter(parts.values())).labels.max()) + 1)), True


def _check_labels(
    parts: Mapping[Role, Gathered], names: tuple[str, ...], numbered: bool, tell: Callable[[str], None]
) -> None:
    """Raise ValueError unless the labels of all parts are those of the classes, from 0."""
    if len(set(names)) < len(names):
        raise ValueError(f"names of classes must be different; got {', '.join(names)}")
    for role, part in parts.items():
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0:
            raise ValueError(
                f"labels must be numbers from 0; got {low} to {role}: leave out what has no label, often marked by -1"
            )
        if high >= len(names):
            known = f"{len(names)} classes are named" if not numbered else f"the first part has {len(names)} classes"
            raise ValueError(f"labels must be from 0 to {len(names) - 1}, since {known}; got {high} to {role}")
    first = next(iter(parts.values()))
    counts = torch.bincount(first.labels, minlength=len(names)).tolist()
    missing = [name for name, count in zip(names, counts) if not count]
    if missing and numbered:
        raise ValueError(
            f"labels must be 0 to C - 1; got {int(first.labels.min())} to {int(first.labels.max())} with no image of "
            f"{', '.join(missing[:5])}: number them anew, as numpy.unique(labels, return_inverse=True)[1] does"
        )
    if len(names) < 2:
        raise ValueError("there must be at least 2 classes; got 1")
    if missing:
        tell(f"no images of: {', '.join(missing)}")
    if "test" not in parts:
        few = {name: count for name, count in zip(names, counts) if count}
        check_counts("the data", few)


def _checksum(images: Images | None) -> str:
    """SHA-256 of pixels and labels; "" for none."""
    if images is None:
        return ""
    pixels = images.pixels.contiguous().cpu()
    digest = hashlib.sha256(json.dumps([str(pixels.dtype), list(pixels.shape)]).encode())
    digest.update(images.labels.cpu().numpy().astype("<i8").tobytes())
    digest.update(pixels.numpy().data)
    return digest.hexdigest()


def _with_splits(facts: GivenSpec, images: Mapping[Role, Images]) -> GivenSpec:
    """The facts with numbers of images, and the images by split: validation images are the last to train."""
    train, validation, test = images.get("train"), images.get("validation"), images.get("test")
    if train is None:
        assert test is not None
        return replace(facts, test_size=len(test), images={"test": test})
    if test is None:
        rows, chosen = split_positions(train.labels, facts.split_seed)
        train, test = train.select(rows), train.select(chosen)
    held = 0 if validation is None else len(validation)
    if validation is not None:
        train = _joined(train, validation)
    return replace(
        facts,
        train_size=len(train),
        test_size=len(test),
        validation_size=held,
        holdout=held or tenth(len(train) + (0 if facts.test_checksum else len(test))),
        images={"train": train, "test": test},
    )


def _joined(first: Images, second: Images) -> Images:
    """Both, one after the other; bytes become floats where the other part is of floats."""
    levels = min(first.levels, second.levels)
    pixels = [_in_levels(part, levels) for part in (first, second)]
    return Images(torch.cat(pixels), torch.cat([first.labels, second.labels]), levels)


def _in_levels(part: Images, levels: int) -> Tensor:
    return part.pixels if part.levels == levels else part.pixels.to(torch.float32) / part.levels


def _tell(found: GivenSpec, parts: Mapping[Role, Gathered], tell: Callable[[str], None]) -> None:
    resized = {part.resized for part in parts.values() if part.resized}
    for line in sorted(resized):
        tell(line)
    shape = "x".join(map(str, found.image_shape))
    numbers = f"{found.train_size} images to train, {found.holdout} of them held out, and {found.test_size} to test"
    how = f"; in training: {found.augmentation}"
    if not found.train_size:
        numbers, how = f"{found.test_size} images to test", ""
    tell(f"{found.name}: {numbers}, {shape}, {found.num_classes} classes{how}")
    if found.images is not None and "train" in found.images:
        train, test = (image_digests(found.images[split].pixels.cpu().numpy()) for split in ("train", "test"))
        names = ([f"{split} image {place}" for place in range(len(found.images[split]))] for split in ("train", "test"))
        line = repeated_text(train, test, *names)
        if line:
            tell(line)
