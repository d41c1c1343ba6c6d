"""Downloads published data sets from their servers into the data root."""

import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from advdpnp.bounded_files import check_no_folder
from advdpnp.callbacks import DownloadCallback, Silent
from advdpnp.data.download.checks import FileCheck, check
from advdpnp.data.download.fetch import Patience, fetch, kept_text, megabytes
from advdpnp.data.download.sources import Archive
from advdpnp.data.download.unpack import unpack
from advdpnp.data.sets import files
from advdpnp.ranges import brief


def download(
    name: str,
    root: Path,
    mirror: str | None = None,
    callback: DownloadCallback | None = None,
    patience: Patience | None = None,
) -> list[FileCheck]:
    """Bring the files of a data set under `root`; what is there and right is not fetched again.

    Args:
        name: the data set; a corruption of cifar10-c brings all of them, unless it is there.
        root: the data root; it need not exist yet.
        mirror: address of a folder that holds the archives, in place of the published ones.
        callback: called as the download proceeds.
        patience: retries and timeouts.
    Returns:
        One entry for each file, as `check` does; none for embedded data.
    Raises:
        ValueError: unknown data set, an address of another kind, or an archive that cannot be unpacked.
        ConnectionError: no address gave the published archive. OSError: too little space, or no right to write.
    """
    callback, patience = callback or Silent(), patience or Patience()
    checked = zip(files(name), check(name, root), strict=True)
    incomplete = dict.fromkeys(archive for (_, archive), found in checked if not found.ok)
    wanted = [_from(archive, mirror) for archive in incomplete]
    if wanted:
        root.mkdir(parents=True, exist_ok=True)
        _need_places(wanted, root)
        _need_space(wanted, root)
    for archive in wanted:
        _bring(archive, root, callback, patience)
    return check(name, root)


def _from(archive: Archive, mirror: str | None) -> Archive:
    if mirror is None:
        return archive
    try:
        scheme = urlsplit(mirror).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https", "file"):
        raise ValueError(f"a mirror is an http, https or file address of a folder; got {brief(mirror)}")
    return replace(archive, addresses=(mirror,))


def _part(archive: Archive, root: Path) -> Path:
    return root / f"{archive.name}.part"


def _need_places(wanted: list[Archive], root: Path) -> None:
    """Make the folders of the files; OSError where something else is in the way, before anything is fetched."""
    for path in (root / file.path for archive in wanted for file in archive.files):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_no_folder(path)


def _need_space(wanted: list[Archive], root: Path) -> None:
    """An archive is removed once it is unpacked, so only the largest needs room beside the files."""
    parts = [path.stat().st_size for archive in wanted if (path := _part(archive, root)).exists()]
    files = sum(file.size for archive in wanted for file in archive.files)
    needed = files + max(archive.size for archive in wanted) - sum(parts)
    free = shutil.disk_usage(root).free
    if free < needed:
        raise OSError(
            f"{root} needs {megabytes(needed)} of free space; it has {megabytes(free)}: free some, "
            "or choose another --data-root"
        )


def _bring(archive: Archive, root: Path, callback: DownloadCallback, patience: Patience) -> None:
    part = _part(archive, root)
    try:
        fetch(archive, part, callback, patience)
    except KeyboardInterrupt:
        if part.exists():
            callback.on_note(kept_text(part))
        raise
    try:
        unpack(part, archive, root)
    except ValueError:
        # It is whole, so to keep it would only fail again.
        part.unlink()
        raise
    part.unlink()
