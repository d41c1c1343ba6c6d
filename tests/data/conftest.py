"""Real files where there are some, and small ones in the same layouts where there are none."""

import pickle
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from advdpnp.data import SPECS, DataSpec
from advdpnp.exporting import reference_logits

CIFAR_SHAPE = (3, 4, 4)
Writer = Callable[[dict[bytes, object]], bytes]


def small(name: str) -> DataSpec:
    """The spec of `name`, scaled down to files that a test can write."""
    shape = (1, 5, 4) if name == "mnist" else CIFAR_SHAPE
    return replace(SPECS[name], image_shape=shape, train_size=20, test_size=6)


def python2(content: dict[bytes, object]) -> bytes:
    """Protocol 2 as Python 2 and old numpy wrote it, and as the published CIFAR files have it."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def value(item: object) -> bytes:
        if isinstance(item, np.ndarray):
            state = b"(K\x01(" + b"".join(b"M" + struct.pack("<H", n) for n in item.shape) + b"t"
            dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            raw = b"T" + struct.pack("<i", item.nbytes) + item.tobytes()
            return (
                b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
                + state
                + (dtype + b"\x89" + raw + b"tb")
            )
        if isinstance(item, list):
            return b"](" + b"".join(b"J" + struct.pack("<i", n) for n in item) + b"e"
        assert isinstance(item, bytes)
        return text(item)

    return b"\x80\x02}(" + b"".join(text(key) + value(item) for key, item in content.items()) + b"u."


def python3(content: dict[bytes, object]) -> bytes:
    """Protocol 2 as Python 3 and today's numpy write it."""
    return pickle.dumps(content, protocol=2)


def cifar(n: int, seed: int, key: bytes = b"labels") -> dict[bytes, object]:
    """What a CIFAR file of n images holds."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (n, int(np.prod(CIFAR_SHAPE))), np.uint8)
    return {b"batch_label": b"batch", key: draw.integers(0, 10, n).tolist(), b"data": pixels}


def write_cifar10(root: Path, writer: Writer = python3) -> list[dict[bytes, object]]:
    """The six batches of `small("cifar10")`, and what each holds."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    contents = [cifar(6 if name == "test_batch" else 4, seed) for seed, name in enumerate(names)]
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_bytes(writer(content))
    return contents


def idx(array: np.ndarray) -> bytes:
    """An idx file of bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """The plain training files of `small("mnist")`, and what they hold."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (20, 5, 4), np.uint8), draw.integers(0, 10, 20, np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    return images, labels


def write_svhn(root: Path, compressed: bool = True, label: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The training file of `small("svhn")` as MATLAB's writer lays it out, and what it holds."""
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (*CIFAR_SHAPE[1:], 3, 20), np.uint8)
    y = draw.integers(1, 11, (20, 1)).astype(np.uint8)
    y[3] = label
    (root / "svhn").mkdir()
    savemat(root / "svhn" / "train_32x32.mat", {"X": x, "y": y}, do_compression=compressed)
    return x, y


def write_corrupted(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """fog.npy and labels.npy of five severities with four images each, and what they hold."""
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 256, (20, *CIFAR_SHAPE[1:], 3), np.uint8), np.tile(np.array([3, 8, 8, 0], np.uint8), 5)
    (root / "CIFAR-10-C").mkdir()
    np.save(root / "CIFAR-10-C" / "fog.npy", x)
    np.save(root / "CIFAR-10-C" / "labels.npy", y)
    return x, y


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How many images, and of what kind, exports are checked on from here on."""
    said: list[str] = []

    def recorded(model: torch.nn.Module, x: torch.Tensor, what: str) -> Any:
        said.append(f"{len(x)} {what}")
        return reference_logits(model, x, what)

    # The package's `export` is the function, so that a path of names does not lead to the module.
    monkeypatch.setattr(sys.modules["advdpnp.api.export"], "reference_logits", recorded)
    return said
