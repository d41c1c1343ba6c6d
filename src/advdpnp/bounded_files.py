"""Files in folders that anyone may have made: read up to a size, from no pipe, and never written through a link."""

import errno
import os
import stat
from pathlib import Path

# Of stored JSON: ten attacks on a million images have less to say of each.
MOST_TEXT = 1 << 26
# Of a log, line by line.
MOST_LOG = 1 << 28
_CHUNK = 1 << 20
# Nothing is waited for; Windows has no such pipes.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file of at most so many bytes, also where it grows meanwhile.

    Raises:
        ValueError: no plain file, such as a pipe or a device, or a larger one. OSError: it cannot be read.
    """
    with open(path, "rb", opener=no_wait) as file:
        # Looked at once it is open, when it cannot become another one.
        facts = os.fstat(file.fileno())
        _check_regular(path, facts)
        _check_size(path, facts.st_size, most)
        # There is room made for as much as is asked for; what it has grown by meanwhile comes after.
        content = file.read(facts.st_size + 1)
        while len(content) <= most and (more := file.read(min(_CHUNK, most + 1 - len(content)))):
            content += more
    _check_size(path, len(content), most)
    return content


def _check_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"{path} must be a file of at most {most:,} bytes; got a larger one")


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The same as text in UTF-8; UnicodeDecodeError, a ValueError, where it is none."""
    return read_bytes(path, most).decode("utf-8").replace("\r\n", "\n")


def check_plain(path: Path) -> None:
    """ValueError unless a path is that of a plain file, for those who have a library open it: a pipe would be waited
    for. OSError: it is not there."""
    _check_regular(path, path.stat())


def _check_regular(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError(
            f"{path} must be a file; got a {'folder' if stat.S_ISDIR(facts.st_mode) else 'pipe or a device'}"
        )


def check_no_folder(*paths: Path) -> None:
    """IsADirectoryError, an OSError, where a folder stands in the place of a file that is to be written.

    A link, a pipe or another file gives way to what is written, a folder does not: to be asked before hours of work.
    """
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            raise IsADirectoryError(errno.EISDIR, "a folder where a file should be, remove it", str(path))


def make_way(path: Path) -> None:
    """Remove a link, a pipe or a device from the place of a file that is written bit by bit, as of a download.

    Raises:
        IsADirectoryError: as `check_no_folder`.
    """
    check_no_folder(path)
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        path.unlink()


def no_link(path: str, flags: int) -> int:
    """For open(..., opener=no_link), to write: where a link is in the file's place, what it leads to is left alone.

    A folder that comes from elsewhere may hold links to anything; OSError where one is there, or a pipe or a device.
    """
    try:
        handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | _AT_ONCE, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link where a file should be, remove it", path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "a pipe or a device where a file should be, remove it", path)
    return handle


def no_wait(path: str, flags: int) -> int:
    """For open(..., opener=no_wait), to read: a pipe that nobody writes to is opened at once as well."""
    return os.open(path, flags | _AT_ONCE)
