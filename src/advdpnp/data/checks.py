"""Are the files on disk the published ones?"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from advdpnp.data.restricted_pickle import CURE
from advdpnp.data.specs import spec

EMBEDDED = "embedded in scikit-learn"

# The MD5 sums that the authors of the data, and every common loader, publish.
_MD5: dict[str, dict[str, str]] = {
    "cifar10": {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    },
    "cifar100": {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
    "mnist": {
        "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "digits": {},
}
# A gzipped file stands for a plain one that is not there.
_GZIP_MD5 = {
    "MNIST/raw/train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "MNIST/raw/train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "MNIST/raw/t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "MNIST/raw/t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}


@dataclass(frozen=True)
class FileCheck:
    """A file's published MD5 sum and its actual one, which is None where the file is missing."""

    path: Path
    expected: str
    actual: str | None

    @property
    def ok(self) -> bool:
        return self.actual == self.expected

    def text(self) -> str:
        """One line for people."""
        if self.ok:
            return f"ok       {self.path}"
        if self.actual is None:
            return f"missing  {self.path}: put it there, or name its folder with --data-root or $ADVDPNP_DATA"
        return f"damaged  {self.path}: expected MD5 {self.expected}, got {self.actual}; {CURE}"


def _md5(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _check_file(root: Path, name: str, expected: str) -> FileCheck:
    path, gzipped = root / name, root / f"{name}.gz"
    if name in _GZIP_MD5 and gzipped.is_file() and not path.is_file():
        path, expected = gzipped, _GZIP_MD5[name]
    return FileCheck(path, expected, _md5(path))


def check(name: str, root: Path) -> list[FileCheck]:
    """One entry for each file that is read; none for embedded data.

    Raises:
        ValueError: unknown data set.
    """
    return [_check_file(root, file, expected) for file, expected in _MD5[spec(name).name].items()]


def describe(name: str) -> dict[str, str]:
    """Facts about a data set, as text for people.

    Raises:
        ValueError: unknown data set.
    """
    facts = spec(name)
    bytes_of_eps = facts.eps * 255
    eps = f"{bytes_of_eps:g}/255" if bytes_of_eps.is_integer() else f"{facts.eps:g}"
    return {
        "name": facts.name,
        "images": f"{facts.train_size} training, {facts.test_size} test, {'x'.join(map(str, facts.image_shape))}",
        "classes": f"{facts.num_classes}: {', '.join(facts.class_names)}",
        "values": f"0 to {facts.levels}, divided by {facts.levels}",
        "eps": f"{eps}, l_inf",
        "augmentation": str(facts.augmentation),
        "held out": f"{facts.holdout} training images, recipe default",
        "files": ", ".join(_MD5[name]) or EMBEDDED,
    }
