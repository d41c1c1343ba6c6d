"""Where the published sets come from: addresses, archives, the files that are read, and their published sums."""

from dataclasses import dataclass

from advdpnp.data.corruptions import CORRUPTIONS


@dataclass(frozen=True)
class DataFile:
    """One file that a reader reads.

    Args:
        path: where it lies under the data root; the name that it has in its archive ends with the same parts.
        size: its bytes; where the MD5 sum is not published, at most so many.
        md5: the published sum; "" where there is none.
        layout: what its array must be where there is no sum (see `layout` in corruptions.py).
    """

    path: str
    size: int
    md5: str = ""
    layout: str = ""


@dataclass(frozen=True)
class Archive:
    """One file on a server.

    Args:
        name: its name there: a tar file, a gzipped file, or the very file that is read.
        size: its bytes.
        md5: its published sum.
        addresses: folders that hold it; the first that answers is used.
        files: the files that are taken from it.
    """

    name: str
    size: int
    md5: str
    addresses: tuple[str, ...]
    files: tuple[DataFile, ...]


_TORONTO = ("https://www.cs.toronto.edu/~kriz/",)
_STANFORD = ("http://ufldl.stanford.edu/housenumbers/",)
_ZENODO = ("https://zenodo.org/records/2535967/files/",)
# Mirrors: MNIST's original host often refuses requests.
_MNIST = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


def _mnist(name: str, size: int, md5: str, plain_size: int, plain_md5: str) -> Archive:
    return Archive(f"{name}.gz", size, md5, _MNIST, (DataFile(f"MNIST/raw/{name}", plain_size, plain_md5),))


def _svhn(name: str, size: int, md5: str) -> Archive:
    return Archive(name, size, md5, _STANFORD, (DataFile(f"svhn/{name}", size, md5),))


# numpy's header has 80 bytes or 128, by its version.
_HEADER = 128
_CORRUPTED = tuple(
    DataFile(f"CIFAR-10-C/{name}.npy", 153_600_000 + _HEADER, layout="uint8 (50000, 32, 32, 3)") for name in CORRUPTIONS
)
# The sum is that of CIFAR-10's 10,000 test labels in their order, as bytes, five times.
CORRUPTED_LABELS = DataFile(
    "CIFAR-10-C/labels.npy", 50_000 + _HEADER, layout="uint8 (50000,), bytes of MD5 ed9287f3f1fb4593a9827187ba54cd47"
)

# MD5 sums as the authors of the data, and every common loader, publish them.
CIFAR10: tuple[Archive, ...] = (
    Archive(
        "cifar-10-python.tar.gz",
        170_498_071,
        "c58f30108f718f92721af3b95e74349a",
        _TORONTO,
        (
            DataFile("cifar-10-batches-py/data_batch_1", 31_035_704, "c99cafc152244af753f735de768cd75f"),
            DataFile("cifar-10-batches-py/data_batch_2", 31_035_320, "d4bba439e000b95fd0a9bffe97cbabec"),
            DataFile("cifar-10-batches-py/data_batch_3", 31_035_999, "54ebc095f3ab1f0389bbae665268c751"),
            DataFile("cifar-10-batches-py/data_batch_4", 31_035_696, "634d18415352ddfa80567beed471001a"),
            DataFile("cifar-10-batches-py/data_batch_5", 31_035_623, "482c414d41f54cd18b22e5b47cb7c3cb"),
            DataFile("cifar-10-batches-py/test_batch", 31_035_526, "40351d587109b95175f43aff81a1287e"),
        ),
    ),
)
CIFAR100: tuple[Archive, ...] = (
    Archive(
        "cifar-100-python.tar.gz",
        169_001_437,
        "eb9058c3a382ffc7106e4002c42a8d85",
        _TORONTO,
        (
            DataFile("cifar-100-python/train", 155_249_918, "16019d7e3df5f24257cddd939b257f8d"),
            DataFile("cifar-100-python/test", 31_049_707, "f0ef6b0ae62326f3e7ffdfab6717acfc"),
        ),
    ),
)
SVHN: tuple[Archive, ...] = (
    _svhn("train_32x32.mat", 182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
    _svhn("test_32x32.mat", 64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
)
MNIST: tuple[Archive, ...] = (
    _mnist(
        "train-images-idx3-ubyte",
        9_912_422,
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        47_040_016,
        "6bbc9ace898e44ae57da46a324031adb",
    ),
    _mnist(
        "train-labels-idx1-ubyte",
        28_881,
        "d53e105ee54ea40749a09fcbcd1e9432",
        60_008,
        "a25bea736e30d166cdddb491f175f624",
    ),
    _mnist(
        "t10k-images-idx3-ubyte",
        1_648_877,
        "9fb629c4189551a2d022fa330f9573f3",
        7_840_016,
        "2646ac647ad5339dbf082846283269ea",
    ),
    _mnist(
        "t10k-labels-idx1-ubyte",
        4_542,
        "ec29112dd5afa0611ce80d1b7f02629c",
        10_008,
        "27ae3e4e09519cfbb04c329615203637",
    ),
)
CIFAR10_C: tuple[Archive, ...] = (
    Archive(
        "CIFAR-10-C.tar",
        2_918_471_680,
        "56bf5dcef84df0e2308c6dcbcbbd8499",
        _ZENODO,
        (*_CORRUPTED, CORRUPTED_LABELS),
    ),
)
