"""Readers of the data sets' files, one for each layout on disk; each checks what it reads against the spec."""

import gzip
import os
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from advdpnp.data.corruptions import SEVERITIES, open_array, parse_corruption
from advdpnp.data.formats.matlab import read_bytes_arrays
from advdpnp.data.formats.restricted_pickle import CURE, read_pickle
from advdpnp.data.specs import Arrays, DataSpec, Split
from advdpnp.data.stratify import stratified
from advdpnp.ranges import brief

# Bytes that a file may have beside its pixels: labels, and the names of images.
_REST = 1 << 22


def data_root(root: Path | str | None = None) -> Path:
    """Folder of the data files: `root`, else $ADVDPNP_DATA, else advdpnp/ in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    found = Path(root or os.environ.get("ADVDPNP_DATA") or cache / "advdpnp")
    try:
        folder = found.expanduser()
    except RuntimeError:
        raise ValueError(f"{found} begins with the home folder of a user whom this machine does not know") from None
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} must be a folder of data files; got a file: give the folder that it lies in")
    return folder


def read_cifar10(spec: DataSpec, split: Split, root: Path) -> Arrays:
    """The five training batches, or the test batch, of CIFAR-10's python version."""
    names = [f"data_batch_{k}" for k in range(1, 6)] if split == "train" else ["test_batch"]
    n = _size(spec, split) // len(names)
    parts = [_cifar_file(path, b"labels", n, spec) for path in _paths(spec, root, "cifar-10-batches-py", names)]
    return np.concatenate([pixels for pixels, _ in parts]), np.concatenate([labels for _, labels in parts])


def read_cifar100(spec: DataSpec, split: Split, root: Path) -> Arrays:
    """One split of CIFAR-100's python version, with its 100 fine labels."""
    (path,) = _paths(spec, root, "cifar-100-python", [split])
    return _cifar_file(path, b"fine_labels", _size(spec, split), spec)


def read_mnist(spec: DataSpec, split: Split, root: Path) -> Arrays:
    """The idx files of MNIST, plain or, where there is no plain one, gzipped."""
    prefix = "train" if split == "train" else "t10k"
    names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    images, labels = _paths(spec, root, "MNIST/raw", names, ("", ".gz"))
    n, (channels, height, width) = _size(spec, split), spec.image_shape
    pixels = _idx(images, (n, height, width)).reshape(n, channels, height, width)
    return pixels, _labels(_idx(labels, (n,)), n, spec, labels)


def read_svhn(spec: DataSpec, split: Split, root: Path) -> Arrays:
    """One split of SVHN's cropped digits; its files call the digit 0 class 10."""
    (path,) = _paths(spec, root, "svhn", [f"{split}_32x32.mat"])
    n, (channels, height, width) = _size(spec, split), spec.image_shape
    images, tens = read_bytes_arrays(path, {"X": (height, width, channels, n), "y": (n, 1)})
    if tens.min() < 1 or tens.max() > 10:
        raise ValueError(f"{path} must hold labels in [1, 10]; got {tens.min()} to {tens.max()}: {CURE}")
    return images.transpose(3, 2, 0, 1), _labels(tens[:, 0] % 10, n, spec, path)


def read_cifar10_c(spec: DataSpec, split: Split, root: Path) -> Arrays:
    """One severity of one corruption, or all five in order; no other images are read from disk."""
    corruption, severity = parse_corruption(spec.name)
    path, labels_path = _paths(spec, root, "CIFAR-10-C", [f"{corruption}.npy", "labels.npy"])
    wanted = spec.test_size
    n = wanted // (SEVERITIES if severity is None else 1)
    channels, height, width = spec.image_shape
    images, labels = open_array(path), open_array(labels_path)
    shape = (SEVERITIES * n, height, width, channels)
    if images.shape != shape or images.dtype != np.uint8:
        raise ValueError(f"{path} must hold uint8 images {shape}; got {images.dtype} {images.shape}: {CURE}")
    checked = _labels(labels, SEVERITIES * n, spec, labels_path)
    if (checked.reshape(SEVERITIES, n) != checked[:n]).any():
        raise ValueError(
            f"{labels_path} must hold the same {n} labels for each severity; got labels that differ: {CURE}"
        )
    start = 0 if severity is None else (severity - 1) * n
    chosen: NDArray[np.uint8] = np.array(images[start : start + wanted]).transpose(0, 3, 1, 2)
    return chosen, checked[start : start + wanted]


def read_digits(spec: DataSpec, split: Split, root: Path) -> Arrays:
    """scikit-learn's 8 x 8 digits; it has no split of its own, so a fixed stratified one is drawn."""
    images, labels = _all_digits()
    in_test = np.zeros(len(labels), dtype=bool)
    in_test[stratified(torch.from_numpy(labels), spec.test_size, "digits-test").numpy()] = True
    chosen = in_test if split == "test" else ~in_test
    return images[chosen], labels[chosen]


def _all_digits() -> Arrays:
    """All 1,797, from the file in scikit-learn; to import that takes longer than an evaluation of a hundred."""
    package = find_spec("sklearn")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz" if package and package.origin else None
    if file is None or not file.is_file():
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
    else:
        # Of each row the last number is the class.
        with gzip.open(file, "rt") as text:
            rows = np.loadtxt(text, delimiter=",")
        images, labels = rows[:, :-1], rows[:, -1]
    return images.astype(np.uint8).reshape(-1, 1, 8, 8), labels.astype(np.int64)


def _size(spec: DataSpec, split: Split) -> int:
    return spec.train_size if split == "train" else spec.test_size


def _paths(spec: DataSpec, root: Path, folder: str, names: Sequence[str], endings: Sequence[str] = ("",)) -> list[Path]:
    """Where the files are: for each name, with the first of `endings` that is there."""
    paths = []
    for name in names:
        path = next((p for ending in endings if (p := root / folder / (name + ending)).is_file()), None)
        if path is None:
            kinds = " (plain or .gz)" if ".gz" in endings else ""
            raise FileNotFoundError(
                f"{root / folder} must hold {', '.join(names)}{kinds}; got no {name}: "
                f"give the folder that holds {folder} as --data-root or in $ADVDPNP_DATA, "
                f"or run `advdpnp data download {spec.name.partition('/')[0]}`"
            )
        paths.append(path)
    return paths


def _labels(values: object, n: int, spec: DataSpec, path: Path) -> NDArray[np.int64]:
    integers = isinstance(values, np.ndarray) or (isinstance(values, list) and all(type(v) is int for v in values))
    labels = np.asarray(values if integers else [])
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        got = f"{labels.dtype} of shape {labels.shape}" if integers else brief(values)
        raise ValueError(f"{path} must hold {n} integer labels; got {got}: {CURE}")
    if labels.min() < 0 or labels.max() >= spec.num_classes:
        raise ValueError(
            f"{path} must hold labels in [0, {spec.num_classes - 1}]; got {labels.min()} to {labels.max()}: {CURE}"
        )
    return labels.astype(np.int64)


def _cifar_file(path: Path, label_key: bytes, n: int, spec: DataSpec) -> Arrays:
    content = read_pickle(path, 2 * n * prod(spec.image_shape) + _REST)
    data = content.get(b"data")
    shape = (n, prod(spec.image_shape))
    if not isinstance(data, np.ndarray) or data.shape != shape:
        got = getattr(data, "shape", type(data).__name__)
        raise ValueError(f"{path} must hold data of shape {shape}; got {got}: {CURE}")
    return data.reshape(n, *spec.image_shape), _labels(content.get(label_key), n, spec, path)


def _content(path: Path, limit: int) -> bytes:
    """At most so many bytes of a file, unpacked: a few kilobytes of gzip can hold gigabytes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} must be a gzip file; got a damaged one ({error}): {CURE}") from None


def _idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An idx file of bytes, which must have this shape."""
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    size = len(header) + prod(shape)
    content = _content(path, size + 1)
    if content[: len(header)] != header or len(content) != size:
        got = f"{len(content)}" if len(content) <= size else f"more than {size}"
        raise ValueError(
            f"{path} must be an idx file of bytes of shape {shape}, {size} bytes in all; "
            f"got {got} bytes that begin {content[: len(header)].hex(' ', 4)}: {CURE}"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
