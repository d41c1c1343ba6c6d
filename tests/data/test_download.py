"""Downloads as a user starts them, from a server on loopback."""

import gzip
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from advdpnp import cli
from advdpnp.callbacks import Silent
from advdpnp.data import SPECS, check, download
from advdpnp.data.download.fetch import Patience
from advdpnp.data.download.sources import Archive, DataFile

from .server import FileServer, serving
from .test_unpack import CONTENT, tar, whole

RAW = tar(*whole())
LABELS = b"\0\0\x08\x01" + bytes(60_000)
QUICK = Patience(tries=3, pause=0.001, timeout=5)


def md5(raw: bytes) -> str:
    return hashlib.md5(raw).hexdigest()


def publish(monkeypatch: pytest.MonkeyPatch, name: str, archive: Archive) -> None:
    """Let a set come in one archive."""
    monkeypatch.setitem(SPECS, name, replace(SPECS[name], archives=(archive,)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of small archives, published as cifar10 (a tar file) and mnist (a gzipped file)."""
    files = {"set.tar.gz": RAW, "labels.gz": gzip.compress(LABELS)}
    with serving(FileServer(files)) as running:
        address = (running.url,)
        batches = tuple(DataFile(name, len(raw), md5(raw)) for name, raw in CONTENT.items())
        labels = (DataFile("MNIST/raw/labels", len(LABELS), md5(LABELS)),)
        tar_file, gz_file = files["set.tar.gz"], files["labels.gz"]
        publish(monkeypatch, "cifar10", Archive("set.tar.gz", len(RAW), md5(tar_file), address, batches))
        publish(monkeypatch, "mnist", Archive("labels.gz", len(gz_file), md5(gz_file), address, labels))
        yield running


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", "data", "download", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("name", "files"), [("cifar10", set(CONTENT)), ("mnist", {"MNIST/raw/labels"})])
def test_the_files_of_a_set_come_and_nothing_else_stays(
    server: FileServer, tmp_path: Path, name: str, files: set[str]
) -> None:
    done = download(name, tmp_path / "new", patience=QUICK)
    assert all(file.ok for file in done) and len(done) == len(files)
    assert names(tmp_path / "new") == files
    assert done == check(name, tmp_path / "new")


def test_what_is_there_and_right_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    download("cifar10", tmp_path, patience=QUICK)
    server.asked.clear()
    download("cifar10", tmp_path, patience=QUICK)
    assert server.asked == []
    (tmp_path / "set/batch_1").write_bytes(b"damaged")
    assert all(file.ok for file in download("cifar10", tmp_path, patience=QUICK))
    assert len(server.asked) == 1


def test_a_gzipped_file_that_is_there_stands_for_the_plain_one(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    (tmp_path / "MNIST/raw/labels.gz").write_bytes(server.files["labels.gz"])
    assert all(file.ok for file in download("mnist", tmp_path, patience=QUICK))
    assert server.asked == []


@pytest.mark.parametrize("kind", ["folder", "file above"])
def test_what_is_in_the_way_is_told_before_anything_is_asked(server: FileServer, tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        (tmp_path / "MNIST/raw/labels").mkdir(parents=True)
    else:
        (tmp_path / "MNIST").write_text("")
    with pytest.raises(OSError, match="MNIST"):
        download("mnist", tmp_path, patience=QUICK)
    assert server.asked == []


def test_a_hostile_archive_changes_nothing_and_does_not_stay(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tar(*whole()[:2])
    (published,) = SPECS["cifar10"].archives
    known = Archive("set.tar.gz", len(hostile), md5(hostile), published.addresses, published.files)
    publish(monkeypatch, "cifar10", known)
    server.files["set.tar.gz"] = hostile
    with pytest.raises(ValueError, match=r"set.tar.gz cannot be unpacked: it lacks set/batch_2. Nothing was changed"):
        download("cifar10", tmp_path, patience=QUICK)
    assert names(tmp_path) == set()


def test_too_little_space_is_told_before_anything_is_asked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))  # type: ignore[attr-defined]
    with pytest.raises(OSError, match=r"needs 0.2 MB of free space; it has 0.001 MB: .* another --data-root"):
        download("cifar10", tmp_path, patience=QUICK)
    assert server.asked == []


def test_a_disk_that_fills_keeps_what_came(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        download("cifar10", tmp_path, patience=QUICK)
    assert names(tmp_path) == {"set.tar.gz.part"}
    monkeypatch.undo()


def test_after_ctrl_c_the_bytes_stay_and_the_same_call_goes_on(server: FileServer, tmp_path: Path) -> None:
    class Impatient(Silent):
        lines: list[str] = []  # noqa: RUF012

        def on_bytes(self, count: int) -> None:
            raise KeyboardInterrupt

        def on_note(self, text: str) -> None:
            self.lines.append(text)

    server.stops = [50_000]
    with pytest.raises(KeyboardInterrupt):
        download("cifar10", tmp_path, callback=Impatient(), patience=QUICK)
    assert (tmp_path / "set.tar.gz.part").stat().st_size == 50_000
    assert "0.05 MB are kept in" in Impatient.lines[-1] and "same command" in Impatient.lines[-1]
    assert all(file.ok for file in download("cifar10", tmp_path, patience=QUICK))
    assert server.asked[-1][1] == "bytes=50000-"
    assert names(tmp_path) == set(CONTENT)


def test_the_command_downloads_from_a_mirror_and_tells_sums_as_json(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(FileServer({"data/set.tar.gz": RAW})) as mirror:
        arguments = ["cifar10", "--from", f"{mirror.url}/data", "--data-root", str(tmp_path), "--json"]
        assert call(monkeypatch, *arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert {file["path"]: file["actual"] for file in told["files"]} == {
        str(tmp_path / name): md5(raw) for name, raw in CONTENT.items()
    }
    assert all(file["ok"] and file["expected"] == file["actual"] for file in told["files"])
    assert (server.asked, len(mirror.asked)) == ([], 1)


def test_the_command_says_which_file_comes_and_how_large_it_is(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "cifar10", "--data-root", str(tmp_path)) == 0
    out, err = capsys.readouterr()
    assert err == "set.tar.gz: 0.09 MB\n"
    assert out.count("ok       ") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar11"], "Did you mean cifar10"),
        (["cifar10-c/fogg"], "nearest: fog"),
        (["cifar10", "--from", "ftp://host/"], "http, https or file address"),
        (["cifar10", "--from", "downloads"], "http, https or file address"),
        (["cifar10", "--from", "http://[::1"], "http, https or file address of a folder; got 'http://[::1'"),
        (["cifar10", "--from", "{url}/nowhere"], "could not be downloaded ({url}/nowhere: the server answered 404"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    given = [argument.replace("{url}", server.url) for argument in arguments]
    assert call(monkeypatch, *given, "--data-root", str(tmp_path)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("advdpnp: ")]
    assert message.replace("{url}", server.url) in line
    assert names(tmp_path) == set()


def test_digits_need_no_download(tmp_path: Path) -> None:
    assert download("digits", tmp_path / "new") == []
    assert not (tmp_path / "new").exists()
