"""The data sets that are known by name, an entry each: facts, reader, and where the files come from."""

from pathlib import Path

from advdpnp.data import readers
from advdpnp.data.augment import Augmentation
from advdpnp.data.corruptions import CORRUPTIONS, FAMILY, SEVERITIES, parse_corruption
from advdpnp.data.download import sources
from advdpnp.data.download.sources import Archive, DataFile
from advdpnp.data.specs import NamedSpec
from advdpnp.ranges import nearest

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

# That of Adv-DPNP, Tramer and Boneh 2019 and Madaan et al. 2021; AutoAttack's authors take 12 on CIFAR-10.
_EPS_L1 = 2000 / 255

SPECS: dict[str, NamedSpec] = {
    entry.name: entry
    for entry in (
        NamedSpec(
            "cifar10",
            (3, 32, 32),
            _CIFAR10_CLASSES,
            train_size=50_000,
            test_size=10_000,
            eps=8 / 255,
            holdout=1000,
            augmentation=_CROP_AND_FLIP,
            reader=readers.read_cifar10,
            archives=sources.CIFAR10,
            # That of RobustBench, which has no l2 for CIFAR-100.
            eps_l2=0.5,
            eps_l1=_EPS_L1,
        ),
        NamedSpec(
            "cifar100",
            (3, 32, 32),
            _CIFAR100_CLASSES,
            train_size=50_000,
            test_size=10_000,
            eps=8 / 255,
            holdout=1000,
            augmentation=_CROP_AND_FLIP,
            reader=readers.read_cifar100,
            archives=sources.CIFAR100,
            eps_l1=_EPS_L1,
        ),
        NamedSpec(
            "svhn",
            (3, 32, 32),
            _DIGITS,
            train_size=73_257,
            test_size=26_032,
            eps=8 / 255,
            holdout=1000,
            # A mirrored house number is another sign, or none.
            augmentation=_CROP,
            reader=readers.read_svhn,
            archives=sources.SVHN,
            eps_l1=_EPS_L1,
        ),
        NamedSpec(
            "mnist",
            (1, 28, 28),
            _DIGITS,
            train_size=60_000,
            test_size=10_000,
            eps=0.3,
            holdout=1000,
            augmentation=Augmentation(),
            reader=readers.read_mnist,
            archives=sources.MNIST,
            # That of Tramer and Boneh 2019, and of Maini et al. 2020.
            eps_l1=10.0,
        ),
        NamedSpec(
            "digits",
            (1, 8, 8),
            _DIGITS,
            train_size=1437,
            test_size=360,
            eps=0.1,
            holdout=144,
            augmentation=Augmentation(),
            levels=16,
            reader=readers.read_digits,
            origin="embedded in scikit-learn",
        ),
    )
}


# Sets that are told by a path, under the form of their names.
PATTERNS: dict[str, str] = {
    f"{FAMILY}/NAME/1-{SEVERITIES}": "CIFAR-10's test images, corrupted; without the severity, at all five; NAME: "
    + ", ".join(CORRUPTIONS),
}


def _corrupted(name: str) -> NamedSpec:
    _, severity = parse_corruption(name)
    clean = SPECS["cifar10"]
    images = clean.test_size * (SEVERITIES if severity is None else 1)
    return NamedSpec(
        name,
        clean.image_shape,
        clean.class_names,
        train_size=0,
        test_size=images,
        eps=clean.eps,
        holdout=0,
        augmentation=Augmentation(),
        reader=readers.read_cifar10_c,
        archives=sources.CIFAR10_C,
        eps_l2=clean.eps_l2,
        eps_l1=clean.eps_l1,
    )


def spec(name: str) -> NamedSpec:
    """Facts about the data set `name`; "cifar10-c/fog/3" is CIFAR-10's test set under fog of severity 3.

    Raises:
        ValueError: no data set has that name.
    """
    if name == FAMILY or name.startswith(f"{FAMILY}/"):
        return _corrupted(name)
    if name not in SPECS and Path(name).is_dir():
        raise ValueError(f"unknown data set {name!r}: for the images of the folder of that name give folder:{name}")
    if name not in SPECS:
        near = nearest(name, [*SPECS, FAMILY], 1)
        known = ", ".join([*SPECS, f"{FAMILY}/<corruption>"])
        raise ValueError(f"unknown data set {name!r}; expected one of {known}. Did you mean {near}?")
    return SPECS[name]


def files(name: str) -> list[tuple[DataFile, Archive]]:
    """Each file that a set is read from, and what it comes in; none for a set without archives.

    Args:
        name: a data set; cifar10-c stands for all of its corruptions.
    Raises:
        ValueError: no data set has that name.
    """
    archives = sources.CIFAR10_C if name == FAMILY else spec(name).archives
    found = [(file, archive) for archive in archives for file in archive.files]
    if not name.startswith(f"{FAMILY}/"):
        return found
    corruption, _ = parse_corruption(name)
    read = (f"CIFAR-10-C/{corruption}.npy", sources.CORRUPTED_LABELS.path)
    return [(file, archive) for file, archive in found if file.path in read]
