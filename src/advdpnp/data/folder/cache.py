"""The decoded images of a folder, kept on disk so that they are decoded once."""

import contextlib
import errno
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from advdpnp import checksums
from advdpnp.bounded_files import check_plain, read_text
from advdpnp.data.specs import Arrays
from advdpnp.ranges import Natural
from advdpnp.stored_values import check_value, parsed

# Raised when files decode to other pixels than before.
SCHEMA = 1
# Names of millions of images.
_MOST = 1 << 30


@dataclass(frozen=True)
class Facts:
    """The content of facts.json.

    Args:
        listing: digest of the listing that was decoded.
        checksum: as `checksum` gives it.
        images_per_class: by class name, in the order of labels.
        broken: files that could not be read and are left out, and why.
        ignored: how many files are no images, by ending.
        names: of the images, in their order; empty in what earlier versions have kept.
        parts: how many images each ready-made split has, in the order of the images; empty for a folder without.
        repeated: a warning that test images are training images too; "" where none are.
        schema: of the decoding.
    """

    listing: str
    checksum: str
    images_per_class: dict[str, Natural]
    broken: dict[str, str]
    ignored: dict[str, Natural]
    names: list[str] = field(default_factory=list)
    parts: dict[str, Natural] = field(default_factory=dict)
    repeated: str = ""
    schema: int = SCHEMA


def checksum(class_names: Sequence[str], pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """SHA-256 of class names, labels and pixels; other images, or the same in another size, have another one."""
    digest = hashlib.sha256(json.dumps([list(class_names), pixels.shape]).encode())
    digest.update(np.ascontiguousarray(labels, "<i8").data)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Cache:
    """images.npy (N, 3, S, S) and labels.npy (N,) in the order of names, split.json for people, and facts.json.

    Args:
        place: the folder of these files.
    """

    place: Path

    def facts(self) -> Facts | None:
        """The stored facts; None if there are none, or they are damaged or of another version of the decoder."""
        try:
            stored = parsed(read_text(self.place / "facts.json", _MOST))
            check_value("facts.json", stored, dict[str, Any])
            stored, _ = checksums.unsealed(stored)
            for name, kind in get_type_hints(Facts, include_extras=True).items():
                check_value(name, stored.get(name, kind()), kind)
            facts = Facts(**stored)
        except (OSError, ValueError, TypeError):
            return None
        if facts.schema != SCHEMA:
            return None
        counted = len(facts.names) in (0, sum(facts.images_per_class.values()))
        return None if not counted else facts if facts.names else replace(facts, names=self._names())

    def _names(self) -> list[str]:
        """Names of the images in what earlier versions have kept, in the order of class and name."""
        try:
            split = parsed(read_text(self.place / "split.json", _MOST))
            return sorted(
                (name for names in split.values() for name in names), key=lambda name: (name.partition("/")[0], name)
            )
        except (OSError, ValueError, TypeError, AttributeError):
            return []

    def arrays(self, facts: Facts) -> Arrays | None:
        """Pixels, on disk until they are sliced, and labels; None if they are not those that `facts` describe."""
        try:
            paths = [self.place / name for name in ("images.npy", "labels.npy")]
            for path in paths:
                check_plain(path)
            pixels, labels = (np.lib.format.open_memmap(path, mode="r") for path in paths)
        except Exception:  # a damaged header fails in any way that numpy's parser can
            return None
        sound = pixels.dtype == np.uint8 and labels.dtype == np.int64 and pixels.shape[:1] == labels.shape
        return (
            (pixels, labels)
            if sound and checksum([*facts.images_per_class], pixels, labels) == facts.checksum
            else None
        )

    def write(self, facts: Facts, arrays: Arrays, split: Mapping[str, Sequence[str]]) -> None:
        """Store all files, or none.

        Raises:
            OSError: they cannot be written there.
        """
        try:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{self.place.name}.", dir=self.place.parent) as temporary:
                made = Path(temporary, "made")
                made.mkdir()
                np.save(made / "images.npy", arrays[0])
                np.save(made / "labels.npy", arrays[1])
                for name, content in (("split.json", split), ("facts.json", checksums.sealed(asdict(facts)))):
                    (made / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
                with contextlib.suppress(FileNotFoundError):
                    self.place.rename(Path(temporary, "former"))
                made.rename(self.place)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                # Another process was quicker, with the same images.
                return
            raise OSError(
                f"cannot keep decoded images in {self.place.parent}: {error.strerror}; "
                "name a folder to write in as --data-root or in $ADVDPNP_DATA"
            ) from None
