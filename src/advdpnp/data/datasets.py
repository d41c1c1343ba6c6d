"""Readers: real files, or the digits inside scikit-learn, as uint8 tensors."""

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from advdpnp import noise
from advdpnp.data.restricted_pickle import read_pickle
from advdpnp.data.specs import DataSpec, spec

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Images:
    """Labelled images as bytes; the whole set lives on one device.

    Args:
        pixels: (N, channels, H, W) uint8.
        labels: (N,) int64.
        levels: the byte that stands for 1.0.
    """

    pixels: Tensor
    labels: Tensor
    levels: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Images":
        """The same set on another device."""
        return Images(self.pixels.to(device), self.labels.to(device), self.levels)

    def select(self, index: Tensor) -> "Images":
        """The images at `index`, (n,) int64, in that order."""
        return Images(self.pixels[index], self.labels[index], self.levels)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, channels, H, W) float32 in [0, 1] and y (B,) int64 of the images at `index`."""
        return self.pixels[index].to(torch.float32) / self.levels, self.labels[index]


def data_root(root: Path | str | None = None) -> Path:
    """Folder of the data files: `root`, else $ADVDPNP_DATA, else the user's cache folder."""
    if root is None:
        root = os.environ.get("ADVDPNP_DATA")
    if root is None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(cache) / "advdpnp"
    return Path(root)


def load(name: str, split: Split, root: Path | str | None = None) -> Images:
    """A data set by name.

    Args:
        name: "cifar10", "cifar100", "mnist" or "digits".
        split: "train" or "test".
        root: see `data_root`; digits need none.
    Raises:
        ValueError: unknown name, or a damaged file. FileNotFoundError: a file is missing.
    """
    return read(spec(name), split, data_root(root))


def read(wanted: DataSpec, split: Split, root: Path) -> Images:
    """The images that `wanted` describes, checked against it; Args and Raises as `load`."""
    if split not in ("train", "test"):
        raise ValueError(f"split must be train or test; got {split!r}")
    readers = {"cifar10": _cifar10, "cifar100": _cifar100, "mnist": _mnist, "digits": _digits}
    pixels, labels, path = readers[wanted.name](split, root, wanted)
    n = wanted.train_size if split == "train" else wanted.test_size
    if pixels.shape != (n, *wanted.image_shape) or labels.shape != (n,):
        raise ValueError(
            f"{path} must hold {n} images of shape {wanted.image_shape} with labels; got images {pixels.shape} and labels "
            f"{labels.shape}: restore it from its archive"
        )
    if labels.min() < 0 or labels.max() >= wanted.num_classes:
        raise ValueError(
            f"{path} must have labels in [0, {wanted.num_classes}); got {labels.min()} to {labels.max()}: "
            "restore it from its archive"
        )
    images, classes = torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels.astype(np.int64))
    return Images(images, classes, wanted.levels)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"no data file at {path}: put the standard files there, or name their folder with --data-root or $ADVDPNP_DATA"
        )
    return path


def _cifar_file(path: Path, label_key: bytes, wanted: DataSpec) -> tuple[Any, Any]:
    content = read_pickle(_existing(path))
    if not isinstance(content.get(b"data"), np.ndarray) or label_key not in content:
        raise ValueError(f"{path} must hold data and {label_key.decode()}: restore it from its archive")
    data = content[b"data"]
    channels, height, width = wanted.image_shape
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != channels * height * width:
        raise ValueError(
            f"{path} must hold bytes of shape (n, {channels * height * width}); got {data.dtype} {data.shape}: "
            "restore it from its archive"
        )
    return data.reshape(-1, channels, height, width), np.asarray(content[label_key])


def _cifar10(split: Split, root: Path, wanted: DataSpec) -> tuple[Any, Any, Path]:
    folder = root / "cifar-10-batches-py"
    names = [f"data_batch_{k}" for k in range(1, 6)] if split == "train" else ["test_batch"]
    parts = [_cifar_file(folder / name, b"labels", wanted) for name in names]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]), folder


def _cifar100(split: Split, root: Path, wanted: DataSpec) -> tuple[Any, Any, Path]:
    path = root / "cifar-100-python" / split
    return *_cifar_file(path, b"fine_labels", wanted), path


def _mnist(split: Split, root: Path, wanted: DataSpec) -> tuple[Any, Any, Path]:
    folder = root / "MNIST" / "raw"
    prefix = "train" if split == "train" else "t10k"
    images = _idx(folder / f"{prefix}-images-idx3-ubyte", 3)
    return images[:, None], _idx(folder / f"{prefix}-labels-idx1-ubyte", 1), folder


def _idx(path: Path, dimensions: int) -> Any:
    """An idx file of bytes, plain or, where there is no plain one, with .gz added to its name."""
    compressed = path.with_name(path.name + ".gz")
    try:
        if not path.is_file() and compressed.is_file():
            path, content = compressed, gzip.decompress(compressed.read_bytes())
        else:
            content = _existing(path).read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it from its archive") from None
    header = 4 * (1 + dimensions)
    if content[:4] != bytes([0, 0, 8, dimensions]):
        raise ValueError(
            f"{path} must begin with the idx header 0 0 8 {dimensions}; got {list(content[:4])}: restore it"
        )
    shape = np.frombuffer(content[4:header], dtype=">u4").tolist()
    if len(content) - header != int(np.prod(shape)):
        raise ValueError(f"{path} must hold {shape} bytes; got {len(content) - header}: restore it from its archive")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _digits(split: Split, root: Path, wanted: DataSpec) -> tuple[Any, Any, Path]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    test = stratified(labels, wanted.test_size, "digits-test")
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[test] = True
    keep = (chosen if split == "test" else ~chosen).numpy()
    return bunch.images.astype(np.uint8)[keep][:, None], bunch.target[keep], Path("scikit-learn's digits")


def stratified(labels: Tensor, count: int, stream: str) -> Tensor:
    """A fixed pseudo-random subset with every class in proportion (largest remainders).

    Args:
        labels: (N,) int64.
        count: size of the subset, at most N.
        stream: name of the purpose; other names give other subsets.
    Returns:
        (count,) int64, sorted.
    Raises:
        ValueError: count is not in [0, N].
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"a subset of {len(labels)} images has 0 to {len(labels)} of them; got {count}")
    sizes = torch.bincount(labels)
    share = sizes.double() * count / len(labels)
    quota = share.floor().long()
    extra = torch.argsort(quota - share, stable=True)[: count - int(quota.sum())]
    quota[extra] += 1
    order = noise.permutation(0, stream, 0, len(labels))
    chosen = [order[labels[order] == label][:size] for label, size in enumerate(quota.tolist())]
    return torch.cat(chosen).sort().values
