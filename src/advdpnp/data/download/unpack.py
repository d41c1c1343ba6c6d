"""Unpacks the expected files of an archive, all of them or none."""

import gzip
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from advdpnp.data.download.sources import Archive, DataFile

_CHUNK = 1 << 20
# Bytes that a tar file may have besides the expected files: its headers, read-mes and names of classes.
_REST = 1 << 20
_OTHER_ENTRIES = 64
# How often the end is met in a whole one, with some to spare.
_MOST_ENDS = 64


class _Refused(Exception):
    """The archive is damaged, or holds what it should not; the message says what."""


class _Bounded:
    """A stream that ends with an error where an archive unpacks to more than it should, or is read on at its end."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._left, self._ends = stream, limit, 0

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._left -= len(content)
        self._ends += not content
        if self._left < 0:
            raise _Refused("it unpacks to more bytes than expected")
        # tarfile would skip the rest of a member of any size, block by block.
        if self._ends > _MOST_ENDS:
            raise _Refused("it ends before a file in it does")
        return content


def unpack(path: Path, archive: Archive, root: Path) -> None:
    """Put the files of an archive in their places under `root`.

    Args:
        path: the archive.
        archive: what it is, and which files it must hold; everything else in it is left out.
        root: the data root. Nothing there changes unless every file has come whole and right.
    Raises:
        ValueError: the archive is damaged, holds what no such archive should, or lacks a file.
    """
    staging = root / f".{archive.name}.unpacked"
    if staging.is_symlink() or not staging.is_dir():
        staging.unlink(missing_ok=True)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        missing = {file.path: staging / str(number) for number, file in enumerate(archive.files)}
        places = dict(missing)
        for file, stream in _contents(path, archive):
            if file.path not in missing:
                raise _Refused(f"it holds {file.path} twice")
            _write(stream, missing.pop(file.path), file)
        if missing:
            raise _Refused(f"it lacks {', '.join(missing)}")
        for name, place in places.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            place.replace(root / name)
    except Exception as error:  # of odd headers, tarfile raises what it likes
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{archive.name} cannot be unpacked: {reason}. Nothing was changed") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _contents(path: Path, archive: Archive) -> Iterator[tuple[DataFile, IO[bytes]]]:
    """The expected files, one after the other, as streams."""
    endings = PurePosixPath(archive.name).suffixes
    with path.open("rb") as raw:
        stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if endings[-1:] == [".gz"] else raw  # type: ignore[assignment]
        if ".tar" in endings:
            yield from _members(stream, archive)
        else:
            (file,) = archive.files
            yield file, stream


def _members(stream: IO[bytes], archive: Archive) -> Iterator[tuple[DataFile, IO[bytes]]]:
    wanted = {file.path: file for file in archive.files}
    bounded = _Bounded(stream, sum(file.size for file in archive.files) + _REST)
    with tarfile.open(fileobj=bounded, mode="r|") as members:  # type: ignore[call-overload]
        for number, member in enumerate(members):
            if number >= len(wanted) + _OTHER_ENTRIES:
                raise _Refused("it holds more files than expected")
            _refuse_strange(member)
            file = wanted.get(member.name.removeprefix("./"))
            if file is not None and (content := members.extractfile(member)) is not None:
                yield file, content


def _refuse_strange(member: tarfile.TarInfo) -> None:
    """No archive of images has a reason for links, devices or names that lead elsewhere."""
    name = PurePosixPath(member.name.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts:
        raise _Refused(f"it holds {member.name!r}, a name that leads out of its folder")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise _Refused(f"it holds {member.name!r}, which is neither a file nor a folder")


def _write(stream: IO[bytes], path: Path, file: DataFile) -> None:
    left, sum_ = file.size, hashlib.md5()
    with path.open("wb") as out:
        while chunk := stream.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise _Refused(f"{file.path} has more than the expected {file.size} bytes")
            sum_.update(chunk)
            try:
                out.write(chunk)
            except OSError as error:
                error.filename = error.filename or str(path)
                raise
        out.flush()
        os.fsync(out.fileno())
    if file.md5 and sum_.hexdigest() != file.md5:
        raise _Refused(f"{file.path} has MD5 {sum_.hexdigest()} where {file.md5} was published")
