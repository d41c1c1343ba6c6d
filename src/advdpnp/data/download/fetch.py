"""One file over HTTP: resumed where it stopped, tried again when the connection drops, checked by size and MD5 sum."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

from advdpnp.bounded_files import check_plain, make_way, no_link, read_text
from advdpnp.callbacks import DownloadCallback
from advdpnp.data.download.checks import md5_of
from advdpnp.data.download.sources import Archive
from advdpnp.ranges import Count, NonNegative, Positive, check_fields, cut
from advdpnp.stored_values import parsed

_CHUNK = 1 << 18
# A length in bytes, as servers write it.
_LENGTH = re.compile(r"[0-9]{1,18}")
# Of what is sent back to a server, in characters.
_LONGEST_HEADER = 1000
# HTTP statuses that may be temporary.
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """Retries and timeouts of a download.

    Args:
        tries: failures in a row, without a byte gained, after which an address is given up; at least 1.
        pause: seconds before it is asked again; after a second failure in a row twice as long, and so on.
        timeout: seconds without an answer or a byte that count as a failure.
    """

    tries: Count = 4
    pause: NonNegative = 1.0
    timeout: Positive = 60.0

    def __post_init__(self) -> None:
        check_fields(self)


def fetch(archive: Archive, part: Path, callback: DownloadCallback, patience: Patience) -> None:
    """Bring `part` to the whole of an archive, beginning with what it holds already.

    Args:
        archive: what to fetch; its addresses are tried in turn.
        part: the file to write. After an interruption or failure it keeps what came; wrong bytes are removed.
        callback: called for the bytes that come, and with a message on every failure.
        patience: retries and timeouts.
    Raises:
        ConnectionError: no address gave the published file; one reason for each.
    """
    make_way(part)
    make_way(_validator_path(part))
    reasons = []
    for address in archive.addresses:
        try:
            _complete(f"{address.rstrip('/')}/{archive.name}", archive, part, callback, patience)
            _verify(archive, part)
        except _Useless as error:
            reasons.append(f"{address}: {error}")
            if len(reasons) < len(archive.addresses):
                callback.on_note(f"{reasons[-1]}; trying the next address")
        else:
            _validator_path(part).unlink(missing_ok=True)
            return
    kept = f". {kept_text(part)}" if _length(part) else ""
    raise ConnectionError(f"{archive.name} could not be downloaded ({'; '.join(reasons)}){kept}")


def kept_text(part: Path) -> str:
    """A message after an interruption: how much is kept, and how to go on."""
    return f"{megabytes(_length(part))} are kept in {part}: the same command goes on from there"


def megabytes(size: int) -> str:
    """ "0.03 MB" or "170.5 MB"."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e6:.2g} MB"


class _Temporary(Exception):
    """A failure after which the request is tried again."""


class _Useless(Exception):
    """An address that cannot give the file."""


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _verify(archive: Archive, part: Path) -> None:
    actual = md5_of(part)
    if actual != archive.md5:
        part.unlink()
        raise _Useless(f"it has MD5 {actual} where {archive.md5} was published, so it was removed")


def _complete(url: str, archive: Archive, part: Path, callback: DownloadCallback, patience: Patience) -> None:
    """Ask until `part` has all bytes."""
    if _length(part) > archive.size:
        part.unlink()
    failures, best = 0, _length(part)
    while _length(part) < archive.size:
        try:
            _ask(url, archive, part, callback, patience.timeout)
            reason = "the connection was closed early"
        except _Temporary as error:
            reason = str(error)
        length = _length(part)
        if length >= archive.size:
            return
        # A server that begins anew each time makes no progress, although bytes come.
        failures, best = (0, length) if length > best else (failures + 1, best)
        if failures >= patience.tries:
            raise _Useless(f"{reason}, {failures} times in a row")
        pause = patience.pause * 2 ** max(failures - 1, 0)
        callback.on_note(f"{archive.name}: {reason} after {megabytes(length)}; asking again in {pause:g} s")
        time.sleep(pause)


def _ask(url: str, archive: Archive, part: Path, callback: DownloadCallback, timeout: float) -> None:
    """One request for the missing bytes; what comes is added to `part`."""
    have = _length(part)
    if (parts := urlsplit(url)).scheme == "file":
        with contextlib.suppress(OSError):
            check_plain(Path(url2pathname(parts.path)))
    with _network_failures(part):
        response = urlopen(Request(url, headers=_headers(url, part, have)), timeout=timeout)
    with response:
        start = _start(response.status or 200, response.headers, have, archive.size)
        _write_validator(part, url, response.headers)
        callback.on_file(archive.name, archive.size, start)
        with open(part, "r+b" if start else "wb", opener=no_link) as file:
            file.seek(start)
            file.truncate()
            _receive(response, file, archive.size - start, part, callback)


def _receive(response: IO[bytes], file: IO[bytes], missing: int, part: Path, callback: DownloadCallback) -> None:
    while True:
        with _network_failures(part):
            # One byte more than is missing, to find a file that is too long.
            chunk = response.read(min(_CHUNK, missing + 1))
        if not chunk:
            return
        missing -= len(chunk)
        if missing < 0:
            file.truncate(0)
            raise _Useless("it sends more bytes than were published, so they were removed")
        try:
            file.write(chunk)
        except OSError as error:
            error.filename = error.filename or str(part)
            raise
        callback.on_bytes(len(chunk))


@contextlib.contextmanager
def _network_failures(part: Path) -> Iterator[None]:
    """Errors of the network as `_Temporary`, to try again, or `_Useless`, to go to the next address."""
    try:
        yield
    except HTTPError as error:
        error.close()
        if error.code == 416:  # it has no such bytes: what is here is of another file
            part.unlink(missing_ok=True)
        if error.code in _TEMPORARY or error.code == 416:
            raise _Temporary(f"the server answered {error.code} ({cut(error.msg)})") from None
        raise _Useless(f"the server answered {error.code} ({cut(error.msg)})") from None
    except URLError as error:
        raise _Temporary(getattr(error.reason, "strerror", None) or cut(error.reason)) from None
    except (HTTPException, OSError) as error:
        raise _Temporary(cut(error) or type(error).__name__) from None


def _headers(url: str, part: Path, have: int) -> dict[str, str]:
    headers = {"User-Agent": "advdpnp"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := _read_validator(part, url):
            headers["If-Range"] = validator
    return headers


def _start(status: int, headers: HTTPMessage, have: int, size: int) -> int:
    """Where in the file the answer begins."""
    if status == 206:
        found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != have:
            raise _Useless("it answers with other bytes than were asked for")
        length = found[2]
    else:
        have, length = 0, headers.get("Content-Length") or "*"
    if re.fullmatch(_LENGTH, length) and int(length) != size:
        raise _Useless(f"it holds {length} bytes where {size} were published")
    return have


def _validator_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _write_validator(part: Path, url: str, headers: HTTPMessage) -> None:
    """Store which version of the file the bytes belong to: its ETag, if it is not a weak one, or its date."""
    tag = headers.get("ETag", "")
    validator = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    with open(_validator_path(part), "w", opener=no_link) as file:
        file.write(json.dumps({"url": url, "validator": _to_send(validator)}))


def _to_send(validator: str) -> str:
    """It is sent back, and a header of several lines, or of other signs than ASCII's, cannot be; "" for such."""
    fit = validator.isascii() and validator.isprintable() and len(validator) <= _LONGEST_HEADER
    return validator if fit else ""


def _read_validator(part: Path, url: str) -> str:
    # Where the version is not known, the MD5 sum at the end decides.
    try:
        stored: Any = parsed(read_text(_validator_path(part)))
        return _to_send(str(stored["validator"])) if stored["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
