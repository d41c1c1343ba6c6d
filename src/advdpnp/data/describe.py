"""What a data set is, and what its images are like."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advdpnp.data.datasets import Images, read
from advdpnp.data.folder import FolderSpec
from advdpnp.data.readers import Split
from advdpnp.data.sources import files
from advdpnp.data.specs import DataSpec

EMBEDDED = "embedded in scikit-learn"


def _files(facts: DataSpec) -> str:
    if isinstance(facts, FolderSpec):
        return facts.path
    return ", ".join(file.path for file, _ in files(facts.name)) or EMBEDDED


def describe(facts: DataSpec) -> dict[str, str]:
    """Facts about a data set, as text for people."""
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
        "files": _files(facts),
    }


def splits(facts: DataSpec) -> tuple[Split, ...]:
    """The splits that a set has."""
    return ("train", "test") if facts.train_size else ("test",)


def _moments(images: Images) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, in [0, 1], exact but for the last rounding."""
    means, deviations = [], []
    values = torch.arange(256, dtype=torch.float64) / images.levels
    for channel in images.pixels.unbind(1):
        share = _histogram(channel) / channel.numel()
        mean = (share * values).sum()
        means.append(mean.item())
        deviations.append((share * (values - mean) ** 2).sum().sqrt().item())
    return means, deviations


def _histogram(channel: Tensor) -> Tensor:
    """(256,) float64 counts of the bytes, some thousand images at a time: counting widens them."""
    counts = torch.zeros(256, dtype=torch.float64)
    for part in torch.split(channel, 4096):
        counts += torch.bincount(part.flatten(), minlength=256)
    return counts


def measure(images: Images, facts: DataSpec) -> dict[str, Any]:
    """Counts and statistics of one split, as JSON values.

    Returns:
        images: how many; per_class: how many by class name; mean and std: of each channel, in [0, 1].
    """
    counts = torch.bincount(images.labels, minlength=facts.num_classes).tolist()
    mean, std = _moments(images)
    per_class = dict(zip(facts.class_names, counts, strict=True))
    return {"images": len(images), "per_class": per_class, "mean": mean, "std": std}


def measure_text(found: dict[str, Any]) -> str:
    """One split in one line."""
    counts = found["per_class"]
    if len(set(counts.values())) == 1:
        share = f"{found['images'] // len(counts)} of each class"
    else:
        share = "by class " + ", ".join(f"{name}: {count}" for name, count in counts.items())
    moments = "; ".join(f"{name} {', '.join(f'{value:.4f}' for value in found[name])}" for name in ("mean", "std"))
    return f"{found['images']} images; {moments}; {share}"


def load_splits(facts: DataSpec, root: Path) -> dict[Split, Images]:
    """All splits of a set.

    Raises:
        ValueError: a damaged file. FileNotFoundError: a file is missing.
    """
    return {split: read(facts, split, root) for split in splits(facts)}
