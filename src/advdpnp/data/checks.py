"""Are the files on disk the published ones?"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from advdpnp.data.specs import MNIST_GZ_MD5, DataSpec, spec


@dataclass(frozen=True)
class FileCheck:
    """One file's MD5 sum, found and expected; `found` is None where the file is missing."""

    path: Path
    expected: str
    found: str | None

    @property
    def ok(self) -> bool:
        return self.found == self.expected

    def text(self) -> str:
        """One line for people."""
        if self.ok:
            return f"ok       {self.path}"
        if self.found is None:
            return f"missing  {self.path}: put it there, or name its folder with --data-root or $ADVDPNP_DATA"
        return f"damaged  {self.path}: expected MD5 {self.expected}, got {self.found}; restore it from its archive"


def _md5(path: Path) -> str | None:
    return hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else None


def _check_file(root: Path, name: str, expected: str) -> FileCheck:
    compressed = name + ".gz"
    if compressed in MNIST_GZ_MD5 and not (root / name).exists() and (root / compressed).exists():
        name, expected = compressed, MNIST_GZ_MD5[compressed]
    return FileCheck(root / name, expected, _md5(root / name))


def check(name: str, root: Path) -> list[FileCheck]:
    """One entry for each file of the data set; none for embedded data.

    Raises:
        ValueError: unknown data set.
    """
    return [_check_file(root, file, expected) for file, expected in spec(name).md5.items()]


def describe(name: str) -> dict[str, str]:
    """Facts about a data set, as text for people; ValueError if it is unknown."""
    facts: DataSpec = spec(name)
    return {
        "name": facts.name,
        "images": f"{facts.train_size} training, {facts.test_size} test, {'x'.join(map(str, facts.image_shape))}",
        "classes": f"{facts.num_classes}: {', '.join(facts.class_names)}",
        "values": f"0 to {facts.levels}, divided by {facts.levels}",
        "augmentation": str(facts.augmentation),
        "held out": f"{facts.holdout} training images, recipe default",
        "files": ", ".join(facts.md5) or "none: embedded in scikit-learn",
    }
