"""Checks of data files on disk against their published MD5 sums."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from advdpnp.data.corruptions import layout
from advdpnp.data.download.sources import Archive, DataFile
from advdpnp.data.formats.restricted_pickle import CURE
from advdpnp.data.sets import files


@dataclass(frozen=True)
class FileCheck:
    """The expected and the actual content of one file.

    Args:
        path: the file.
        expected: its published MD5 sum, or, where none is published, the layout of its array.
        actual: the same of the file that is there; None where there is none.
        measure: what is compared, "MD5" or "array".
    """

    path: Path
    expected: str
    actual: str | None
    measure: str = "MD5"

    @property
    def ok(self) -> bool:
        return self.actual == self.expected

    def text(self) -> str:
        """One line: ok, missing or damaged, the file, and how to mend it."""
        if self.ok:
            return f"ok       {self.path}"
        if self.actual is None:
            return f"missing  {self.path}: get it with `advdpnp data download`, or name its folder with --data-root"
        return f"damaged  {self.path}: expected {self.measure} {self.expected}, got {self.actual}; {CURE}"


def check(name: str, root: Path) -> list[FileCheck]:
    """Check the files of a data set: one entry for each, none for embedded data.

    Raises:
        ValueError: unknown data set.
    """
    return [_check_file(file, archive, root) for file, archive in files(name)]


def md5_of(path: Path) -> str:
    """The MD5 sum of a file, as 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _check_file(file: DataFile, archive: Archive, root: Path) -> FileCheck:
    """One file under `root`; where it is missing, its gzipped archive counts instead."""
    path, gzipped = root / file.path, root / f"{file.path}.gz"
    if file.layout:
        return FileCheck(path, file.layout, layout(path) if path.is_file() else None, "array")
    expected = file.md5
    if archive.name == gzipped.name and gzipped.is_file() and not path.is_file():
        path, expected = gzipped, archive.md5
    return FileCheck(path, expected, md5_of(path) if path.is_file() else None)
