"""Are the files on disk the published ones?"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from advdpnp.data.corruptions import layout
from advdpnp.data.download.sources import Archive, DataFile
from advdpnp.data.formats.restricted_pickle import CURE
from advdpnp.data.sets import files


@dataclass(frozen=True)
class FileCheck:
    """What a file must be, and what it is.

    Args:
        path: the file.
        expected: its published MD5 sum, or, where none is published, the layout of its array.
        actual: the same of the file that is there; None where there is none.
        measure: "MD5" or "array".
    """

    path: Path
    expected: str
    actual: str | None
    measure: str = "MD5"

    @property
    def ok(self) -> bool:
        return self.actual == self.expected

    def text(self) -> str:
        """One line for people."""
        if self.ok:
            return f"ok       {self.path}"
        if self.actual is None:
            return f"missing  {self.path}: get it with `advdpnp data download`, or name its folder with --data-root"
        return f"damaged  {self.path}: expected {self.measure} {self.expected}, got {self.actual}; {CURE}"


def md5_of(path: Path) -> str:
    """The MD5 sum of a file, as 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _check_file(file: DataFile, archive: Archive, root: Path) -> FileCheck:
    """One file under `root`; the gzipped archive that it comes in stands for it where it is not there."""
    path, gzipped = root / file.path, root / f"{file.path}.gz"
    if file.layout:
        return FileCheck(path, file.layout, layout(path) if path.is_file() else None, "array")
    expected = file.md5
    if archive.name == gzipped.name and gzipped.is_file() and not path.is_file():
        path, expected = gzipped, archive.md5
    return FileCheck(path, expected, md5_of(path) if path.is_file() else None)


def check(name: str, root: Path) -> list[FileCheck]:
    """One entry for each file that is read; none for embedded data.

    Raises:
        ValueError: unknown data set.
    """
    return [_check_file(file, archive, root) for file, archive in files(name)]
