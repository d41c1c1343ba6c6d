"""Facts about the data sets that are known by name."""

from dataclasses import dataclass

from advdpnp.data.augment import Augmentation
from advdpnp.data.corruptions import CORRUPTIONS, FAMILY, SEVERITIES, parse_corruption
from advdpnp.ranges import Count, Natural, Share, check_fields, nearest


@dataclass(frozen=True)
class DataSpec:
    """Facts about one data set.

    Args:
        name: as on the command line and in results.
        image_shape: (channels, H, W).
        class_names: one for each class, in the order of the labels.
        train_size: training images; 0 for a set that is only tested on.
        test_size: test images.
        eps: the field's usual l_inf radius, for images in [0, 1].
        holdout: training images that the recipe `default` holds out.
        augmentation: the field's usual crop and flip.
        levels: the pixel value that stands for 1.0.
    """

    name: str
    image_shape: tuple[Count, Count, Count]
    class_names: tuple[str, ...]
    train_size: Natural
    test_size: Natural
    eps: Share
    holdout: Natural
    augmentation: Augmentation
    levels: Count = 255

    def __post_init__(self) -> None:
        check_fields(self, "data")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


_CROP = Augmentation(padding=4, mode="reflect")
_CROP_AND_FLIP = Augmentation(padding=4, mode="reflect", flip=True)
_DIGITS = tuple("0123456789")
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100_CLASSES = tuple(
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck "
    "pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk "
    "skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger "
    "tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm".split()
)

SPECS: dict[str, DataSpec] = {
    entry.name: entry
    for entry in (
        DataSpec("cifar10", (3, 32, 32), _CIFAR10_CLASSES, 50_000, 10_000, 8 / 255, 1000, _CROP_AND_FLIP),
        DataSpec("cifar100", (3, 32, 32), _CIFAR100_CLASSES, 50_000, 10_000, 8 / 255, 1000, _CROP_AND_FLIP),
        # A mirrored house number is another sign, or none.
        DataSpec("svhn", (3, 32, 32), _DIGITS, 73_257, 26_032, 8 / 255, 1000, _CROP),
        DataSpec("mnist", (1, 28, 28), _DIGITS, 60_000, 10_000, 0.3, 1000, Augmentation()),
        DataSpec("digits", (1, 8, 8), _DIGITS, 1437, 360, 0.1, 144, Augmentation(), levels=16),
    )
}


# Data sets whose names follow a pattern.
PATTERNS: dict[str, str] = {
    f"{FAMILY}/NAME/1-{SEVERITIES}": "CIFAR-10's test images, corrupted; without the severity, at all five; NAME: "
    + ", ".join(CORRUPTIONS),
}


def spec(name: str) -> DataSpec:
    """Facts about the data set `name`; "cifar10-c/fog/3" is CIFAR-10's test set under fog of severity 3.

    Raises:
        ValueError: no data set has that name.
    """
    if name == FAMILY or name.startswith(f"{FAMILY}/"):
        return _corrupted(name)
    if name not in SPECS:
        known = ", ".join([*SPECS, f"{FAMILY}/<corruption>"])
        near = nearest(name, [*SPECS, FAMILY], 1)
        raise ValueError(f"unknown data set {name!r}; expected one of {known}. Did you mean {near}?")
    return SPECS[name]


def _corrupted(name: str) -> DataSpec:
    _, severity = parse_corruption(name)
    clean = SPECS["cifar10"]
    images = clean.test_size * (SEVERITIES if severity is None else 1)
    return DataSpec(name, clean.image_shape, clean.class_names, 0, images, clean.eps, 0, Augmentation())
