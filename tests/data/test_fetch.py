import hashlib
import os
import sys
from collections.abc import Iterator
from http.client import HTTPMessage
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest

from advdpnp.callbacks import Silent
from advdpnp.data.download.fetch import (
    Patience,
    _headers,
    _start,
    _Useless,
    _write_validator,
    fetch,
    megabytes,
)
from advdpnp.data.download.sources import Archive

from .server import FileServer, serving

CONTENT = np.random.default_rng(0).bytes(700_000)
QUICK = Patience(tries=3, pause=0.001, timeout=5)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer({"set.tar": CONTENT}, tag='"one"')) as running:
        yield running


def archive(*addresses: str, content: bytes = CONTENT) -> Archive:
    return Archive("set.tar", len(content), hashlib.md5(content).hexdigest(), addresses, ())


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bytes = 0

    def on_file(self, name: str, size: int, done: int) -> None:
        self.bytes = done

    def on_bytes(self, count: int) -> None:
        self.bytes += count

    def on_note(self, text: str) -> None:
        self.lines.append(text)


def fails(wanted: Archive, part: Path) -> str:
    with pytest.raises(ConnectionError) as caught:
        fetch(wanted, part, Silent(), QUICK)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_file_comes_whole_and_leaves_nothing_beside_it(server: FileServer, tmp_path: Path, slash: str) -> None:
    notes = Notes()
    fetch(archive(server.url + slash), tmp_path / "part", notes, QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    assert (server.sent, notes.bytes, notes.lines) == (len(CONTENT), len(CONTENT), [])


def test_a_dropped_connection_is_resumed_and_no_byte_comes_twice(server: FileServer, tmp_path: Path) -> None:
    server.stops = [300_000, 1, 0, 250_000]
    notes = Notes()
    fetch(archive(server.url), tmp_path / "part", notes, QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.sent == notes.bytes == len(CONTENT)
    assert [ask[1] for ask in server.asked] == [None, *(f"bytes={n}-" for n in (300_000, 300_001, 300_001, 550_001))]
    assert "closed early after 0.3 MB" in notes.lines[0]


def test_what_an_earlier_call_left_is_resumed(server: FileServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    server.stops = [200_000, 0, 0, 0]
    assert f"0.2 MB are kept in {part}" in fails(archive(server.url), part)
    fetch(archive(server.url), part, Silent(), QUICK)
    assert part.read_bytes() == CONTENT
    assert server.sent == len(CONTENT)
    assert server.asked[-1] == ("set.tar", "bytes=200000-", '"one"')


def test_a_file_that_changed_meanwhile_comes_from_its_beginning(server: FileServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    server.stops = [200_000, 0, 0, 0]
    fails(archive(server.url), part)
    changed = CONTENT[::-1]
    server.files, server.tag, server.sent = {"set.tar": changed}, '"two"', 0
    fetch(archive(server.url, content=changed), part, Silent(), QUICK)
    assert part.read_bytes() == changed
    assert server.sent == len(changed)


def test_a_weak_tag_vouches_for_no_bytes(server: FileServer, tmp_path: Path) -> None:
    server.tag, server.stops = 'W/"one"', [200_000]
    fetch(archive(server.url), tmp_path / "part", Silent(), QUICK)
    assert server.asked[1] == ("set.tar", "bytes=200000-", None)


@pytest.mark.parametrize("noted", ["", "[]", "{}", '{"url": 1'])
def test_a_damaged_note_of_the_version_is_no_version(server: FileServer, tmp_path: Path, noted: str) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    (tmp_path / "part.json").write_text(noted)
    fetch(archive(server.url), tmp_path / "part", Silent(), QUICK)
    assert server.asked == [("set.tar", "bytes=1000-", None)]


def test_a_server_without_ranges_sends_all_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.stops = False, [200_000]
    fetch(archive(server.url), tmp_path / "part", Silent(), QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.sent == 200_000 + len(CONTENT)


def test_a_server_without_ranges_that_always_drops_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.stops = False, [200_000] * 100
    assert "closed early, 3 times in a row" in fails(archive(server.url), tmp_path / "part")
    assert len(server.asked) == 4


def test_bytes_that_the_server_has_not_are_thrown_away(server: FileServer, tmp_path: Path) -> None:
    server.files["set.tar"] = CONTENT[:1000]
    (tmp_path / "part").write_bytes(CONTENT[:5000])
    assert "it holds 1000 bytes where 700000 were published" in fails(archive(server.url), tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_more_bytes_than_the_file_has_are_not_kept(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT + b"x")
    fetch(archive(server.url), tmp_path / "part", Silent(), QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_whole_file_is_not_asked_for(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT)
    fetch(archive(server.url), tmp_path / "part", Silent(), QUICK)
    assert server.asked == []


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_failure_is_asked_again(server: FileServer, tmp_path: Path, status: int) -> None:
    server.statuses = [status, status]
    notes = Notes()
    fetch(archive(server.url), tmp_path / "part", notes, QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert f"the server answered {status}" in notes.lines[0]


def test_failures_that_do_not_pass_are_told(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [500] * 9
    assert "answered 500 (Internal Server Error), 3 times in a row" in fails(archive(server.url), tmp_path / "part")
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_file_that_is_not_there_is_not_asked_for_again(server: FileServer, tmp_path: Path, status: int) -> None:
    server.statuses = [status]
    assert f"answered {status}" in fails(archive(server.url), tmp_path / "part")
    assert len(server.asked) == 1
    assert not list(tmp_path.iterdir())


def test_the_next_address_is_used_where_one_fails(server: FileServer, tmp_path: Path) -> None:
    notes = Notes()
    addresses = ("http://127.0.0.1:9", f"{server.url}/nowhere", server.url)
    fetch(archive(*addresses), tmp_path / "part", notes, QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT
    told = [line for line in notes.lines if "asking again" not in line]
    assert told[0].startswith("http://127.0.0.1:9: ") and "refused" in told[0]
    assert told[1].startswith(f"{server.url}/nowhere: the server answered 404")


def test_another_address_goes_on_where_the_first_stopped(server: FileServer, tmp_path: Path) -> None:
    with serving(FileServer({"set.tar": CONTENT}, stops=[400_000, 0, 0, 0], tag='"other"')) as first:
        fetch(archive(first.url, server.url), tmp_path / "part", Silent(), QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert (first.sent, server.sent) == (400_000, 300_000)
    # The tag is the other server's, so it is not shown to this one.
    assert server.asked == [("set.tar", "bytes=400000-", None)]


def test_redirects_are_followed_with_the_range(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    with serving(FileServer({}, moved={"set.tar": f"{server.url}/set.tar"})) as front:
        fetch(archive(front.url), tmp_path / "part", Silent(), QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert server.asked[0][1] == "bytes=1000-"


@pytest.mark.parametrize("target", ["/set.tar", "file:///etc/hostname"])
def test_a_redirect_in_a_circle_or_to_a_local_file_is_refused(tmp_path: Path, target: str) -> None:
    with serving(FileServer({}, moved={"set.tar": target})) as circle:
        assert "answered 302" in fails(archive(circle.url), tmp_path / "part")


def test_wrong_bytes_are_removed_and_both_sums_told(server: FileServer, tmp_path: Path) -> None:
    wrong = CONTENT[:-1] + b"\0"
    server.files["set.tar"] = wrong
    message = fails(archive(server.url), tmp_path / "part")
    for part in (hashlib.md5(wrong).hexdigest(), hashlib.md5(CONTENT).hexdigest(), "removed"):
        assert part in message
    assert not (tmp_path / "part").exists()


@pytest.mark.parametrize("declares", [True, False])
def test_a_file_of_another_length_is_refused_early(server: FileServer, tmp_path: Path, declares: bool) -> None:
    server.files["set.tar"], server.declares = CONTENT * 4, declares
    message = fails(archive(server.url), tmp_path / "part")
    assert ("holds 2800000 bytes where 700000 were published" if declares else "more bytes than were") in message
    assert not (tmp_path / "part").exists() or not (tmp_path / "part").stat().st_size


def test_an_answer_of_other_bytes_than_asked_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    with serving(FileServer({"set.tar": CONTENT})) as server:
        honest = FileServer._send
        monkeypatch.setattr(FileServer, "_send", lambda s, handler, content, _: honest(s, handler, content, "bytes=7-"))
        assert "other bytes than were asked for" in fails(archive(server.url), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT[:1000]


def test_a_pipe_in_a_folder_that_is_fetched_from_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "set.tar")
    with pytest.raises(ValueError, match=r"set\.tar must be a file; got a pipe or a device"):
        fetch(archive(tmp_path.as_uri()), tmp_path / "part", Silent(), QUICK)


def test_a_local_folder_can_be_the_address(tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_bytes(CONTENT)
    fetch(archive(tmp_path.as_uri()), tmp_path / "part", Silent(), QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_sizes_are_told_in_megabytes() -> None:
    assert [megabytes(n) for n in (4542, 170_498_071, 0)] == ["0.0045 MB", "170.5 MB", "0 MB"]


@pytest.mark.parametrize("length", ["\u00b2", "9" * 5000, "-1", "x", "1e3"])
def test_a_length_that_is_no_number_says_nothing(
    length: str,
) -> None:
    # A superscript two is a digit to Python, and no number.
    assert _start(200, _headers_of({"Content-Length": length}), 0, 5) == 0
    with pytest.raises(_Useless):
        _start(206, _headers_of({"Content-Range": f"bytes {length}-4/{length}"}), 0, 5)


def test_a_version_of_several_lines_is_not_sent_back(tmp_path: Path) -> None:
    # A header that goes on in the next line keeps the end of the line in its value.
    _write_validator(tmp_path / "part", "u", _headers_of({"ETag": '"a\r\n b"'}))
    assert _headers("u", tmp_path / "part", 3) == {"User-Agent": "advdpnp", "Range": "bytes=3-"}


@pytest.mark.parametrize("noted", ["a\\r\\nRange: b", "\\u0416", "x" * 100_000])
def test_a_version_that_is_no_header_is_not_sent_back(server: FileServer, tmp_path: Path, noted: str) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    (tmp_path / "part.json").write_text(f'{{"url": "{server.url}/set.tar", "validator": "{noted}"}}')
    fetch(archive(server.url), tmp_path / "part", Silent(), QUICK)
    assert server.asked == [("set.tar", "bytes=1000-", None)]


@pytest.mark.parametrize("name", ["part", "part.json"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "circle", "pipe", "device"])
def test_what_stands_in_the_place_of_what_came_is_neither_waited_for_nor_written_through(
    server: FileServer, tmp_path: Path, name: str, kind: str
) -> None:
    precious, place = tmp_path / "precious", tmp_path / name
    precious.write_bytes(b"precious")
    if kind == "pipe":
        os.mkfifo(place)
    else:
        targets = {"link": precious, "link to nothing": tmp_path / "none", "circle": place, "device": Path("/dev/zero")}
        place.symlink_to(targets[kind])
    fetch(archive(server.url), tmp_path / "part", Silent(), QUICK)
    assert (tmp_path / "part").read_bytes() == CONTENT and precious.read_bytes() == b"precious"
    assert not (tmp_path / "none").exists()


def test_a_folder_in_the_place_of_what_came_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    with pytest.raises(IsADirectoryError, match="a folder where a file should be, remove it"):
        fetch(archive(server.url), tmp_path / "part", Silent(), QUICK)
    assert server.asked == []


def test_an_endless_reason_is_cut(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise HTTPError(server.url, 403, "no\n" * 10_000, HTTPMessage(), None)

    monkeypatch.setattr(sys.modules[fetch.__module__], "urlopen", refuse)
    assert len(fails(archive(server.url), tmp_path / "part")) < 300


def _headers_of(values: dict[str, str]) -> HTTPMessage:
    found = HTTPMessage()
    for name, value in values.items():
        found._headers.append((name, value))  # type: ignore[attr-defined]
    return found
