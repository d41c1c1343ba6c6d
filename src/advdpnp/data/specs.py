"""Facts about the data sets that are known by name."""

from dataclasses import dataclass
from difflib import get_close_matches

from advdpnp.data.augment import Augmentation


@dataclass(frozen=True)
class DataSpec:
    """Facts about one data set.

    Args:
        name: what it is called.
        image_shape: (channels, H, W).
        class_names: one for each class.
        train_size, test_size: images.
        levels: the integer that stands for 1.0.
        eps: the field's usual linf radius.
        augmentation: the field's usual crop and flip.
        holdout: training images that the recipe `default` holds out.
        md5: file -> MD5 sum, relative to the data root; empty for embedded data.
    """

    name: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train_size: int
    test_size: int
    eps: float
    holdout: int
    augmentation: Augmentation
    md5: dict[str, str]
    levels: int = 255

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


_CROP_AND_FLIP = Augmentation(padding=4, mode="reflect", flip=True)
_DIGITS = tuple("0123456789")

_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100_CLASSES = tuple(
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail "
    "snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout "
    "tulip turtle wardrobe whale willow_tree wolf woman worm".split()
)

_CIFAR10_MD5 = {
    "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
}
_CIFAR100_MD5 = {
    "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
    "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
_MNIST_MD5 = {
    "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
# MNIST's files are as good compressed; either form will do.
MNIST_GZ_MD5 = {
    "MNIST/raw/train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "MNIST/raw/train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "MNIST/raw/t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "MNIST/raw/t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}

SPECS: dict[str, DataSpec] = {
    spec.name: spec
    for spec in (
        DataSpec("cifar10", (3, 32, 32), _CIFAR10_CLASSES, 50_000, 10_000, 8 / 255, 1000, _CROP_AND_FLIP, _CIFAR10_MD5),
        DataSpec(
            "cifar100", (3, 32, 32), _CIFAR100_CLASSES, 50_000, 10_000, 8 / 255, 1000, _CROP_AND_FLIP, _CIFAR100_MD5
        ),
        DataSpec("mnist", (1, 28, 28), _DIGITS, 60_000, 10_000, 0.3, 1000, Augmentation(), _MNIST_MD5),
        DataSpec("digits", (1, 8, 8), _DIGITS, 1437, 360, 0.1, 144, Augmentation(), {}, levels=16),
    )
}


def spec(name: str) -> DataSpec:
    """Facts about the data set `name`; ValueError with the nearest names if there is none."""
    if name not in SPECS:
        near = get_close_matches(name, SPECS, n=3, cutoff=0.0)
        raise ValueError(f"unknown data set {name!r}; nearest: {', '.join(near)}")
    return SPECS[name]
