import gzip
import hashlib
import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from advdpnp.data.download.sources import Archive, DataFile
from advdpnp.data.download.unpack import unpack

CONTENT = {f"set/batch_{k}": np.random.default_rng(k).bytes(30_000 + k) for k in range(3)}


def archive(name: str = "set.tar.gz", content: dict[str, bytes] = CONTENT, summed: bool = True) -> Archive:
    files = tuple(
        DataFile(path, len(raw), hashlib.md5(raw).hexdigest() if summed else "") for path, raw in content.items()
    )
    return Archive(name, 0, "", (), files)


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def tar(*entries: tuple[tarfile.TarInfo, bytes], zipped: bool = True) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz" if zipped else "w") as out:
        for info, raw in entries:
            out.addfile(info, io.BytesIO(raw))
    return file.getvalue()


def whole(prefix: str = "") -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(entry(prefix + name, len(raw)), raw) for name, raw in CONTENT.items()]


def found(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refused(tmp_path: Path, raw: bytes, wanted: Archive) -> str:
    """The one line; and nothing beside it is new, or changed, on the disk."""
    root = tmp_path / "root"
    (root / "set").mkdir(parents=True)
    (root / "set" / "batch_0").write_bytes(b"older")
    (tmp_path / "archive").write_bytes(raw)
    with pytest.raises(ValueError, match="cannot be unpacked") as caught:
        unpack(tmp_path / "archive", wanted, root)
    assert found(root) == {"set/batch_0": b"older"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "root"]
    assert [path.name for path in root.iterdir()] == ["set"]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_only_the_expected_files_are_taken(tmp_path: Path, zipped: bool, prefix: str) -> None:
    others = [(entry("set", kind=tarfile.DIRTYPE), b""), (entry("set/readme.html", 5), b"hello")]
    (tmp_path / "archive").write_bytes(tar(*others, *whole(prefix), zipped=zipped))
    unpack(tmp_path / "archive", archive("set.tar.gz" if zipped else "set.tar"), tmp_path / "root")
    assert found(tmp_path / "root") == CONTENT


def test_older_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(tar(*whole()))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "batch_1").write_bytes(b"damaged")
    unpack(tmp_path / "archive", archive(), tmp_path)
    assert {name: raw for name, raw in found(tmp_path).items() if name != "archive"} == CONTENT


@pytest.mark.parametrize("name", ["labels.gz", "labels.mat"])
def test_a_gzipped_or_plain_file_becomes_the_one_file(tmp_path: Path, name: str) -> None:
    content = {"raw/labels": b"labels" * 99}
    raw = content["raw/labels"]
    (tmp_path / "archive").write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    unpack(tmp_path / "archive", archive(name, content), tmp_path / "root")
    assert found(tmp_path / "root") == content


STRANGE = {
    "traversal": (entry("../outside", 1), b"x"),
    "traversal inside": (entry("set/../../outside", 1), b"x"),
    "backslashes": (entry("..\\outside", 1), b"x"),
    "absolute": (entry("/tmp/outside", 1), b"x"),
    "symlink": (entry("set/batch_0", kind=tarfile.SYMTYPE, link="/etc/passwd"), b""),
    "hard link": (entry("set/batch_0", kind=tarfile.LNKTYPE, link="../../archive"), b""),
    "character device": (entry("set/null", kind=tarfile.CHRTYPE), b""),
    "block device": (entry("set/disk", kind=tarfile.BLKTYPE), b""),
    "pipe": (entry("set/pipe", kind=tarfile.FIFOTYPE), b""),
    "symlinked folder": (entry("set", kind=tarfile.SYMTYPE, link="/tmp"), b""),
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("last", [True, False])
def test_a_name_or_kind_that_no_archive_of_images_has_is_refused(tmp_path: Path, strange: str, last: bool) -> None:
    entries = [*whole(), STRANGE[strange]] if last else [STRANGE[strange], *whole()]
    message = refused(tmp_path, tar(*entries), archive())
    assert ("leads out of its folder" in message) or ("neither a file nor a folder" in message)


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert "holds set/batch_0 twice" in refused(tmp_path, tar(*whole(), whole()[0]), archive())


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "lacks set/batch_2" in refused(tmp_path, tar(*whole()[:2]), archive())


def test_a_folder_in_place_of_a_file_is_no_file(tmp_path: Path) -> None:
    entries = [*whole()[:2], (entry("set/batch_2", kind=tarfile.DIRTYPE), b"")]
    assert "lacks set/batch_2" in refused(tmp_path, tar(*entries), archive())


def test_a_file_of_another_sum_is_refused(tmp_path: Path) -> None:
    raw = bytes(30_002)
    message = refused(tmp_path, tar(*whole()[:2], (entry("set/batch_2", len(raw)), raw)), archive())
    assert hashlib.md5(raw).hexdigest() in message


@pytest.mark.parametrize("summed", [True, False])
def test_a_file_that_is_larger_than_expected_is_refused(tmp_path: Path, summed: bool) -> None:
    raw = bytes(30_003)
    entries = [*whole()[:2], (entry("set/batch_2", len(raw)), raw)]
    assert "more than the expected 30002 bytes" in refused(tmp_path, tar(*entries), archive(summed=summed))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_is_not_unpacked_into_memory(tmp_path: Path, kind: bytes) -> None:
    # 100 MB of zeros in an entry nobody wants, or in a header that tarfile would read whole.
    bomb = tar(*whole(), (entry("set/bomb", 100_000_000, kind), bytes(100_000_000)))
    assert len(bomb) < 500_000
    tracemalloc.start()
    message = refused(tmp_path, bomb, archive())
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert "more bytes than expected" in message


def test_a_gzipped_bomb_is_stopped_at_the_expected_size(tmp_path: Path) -> None:
    message = refused(tmp_path, gzip.compress(bytes(50_000_000)), archive("labels.gz", {"raw/labels": b"labels"}))
    assert "raw/labels has more than the expected 6 bytes" in message


def test_a_size_without_end_is_not_counted_through(tmp_path: Path) -> None:
    file, info = io.BytesIO(), entry("set/huge", 1)
    info.pax_headers = {"size": str(10**17)}
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as out:
        out.addfile(info, io.BytesIO(b"x"))
    assert "it ends before a file in it does" in refused(tmp_path, file.getvalue(), archive())


@pytest.mark.parametrize("kind", ["file", "link", "pipe", "folder"])
def test_what_stands_in_the_place_of_the_unpacked_gives_way(tmp_path: Path, kind: str) -> None:
    place, precious = tmp_path / ".set.tar.gz.unpacked", tmp_path / "precious"
    precious.mkdir()
    (precious / "0").write_bytes(b"precious")
    match kind:
        case "file":
            place.write_bytes(b"x")
        case "link":
            place.symlink_to(precious)
        case "pipe":
            os.mkfifo(place)
        case _:
            (place / "0").mkdir(parents=True)
    (tmp_path / "archive").write_bytes(tar(*whole()))
    unpack(tmp_path / "archive", archive(), tmp_path)
    assert found(tmp_path / "set") == {name.removeprefix("set/"): raw for name, raw in CONTENT.items()}
    assert not place.exists() and (precious / "0").read_bytes() == b"precious"


def test_thousands_of_empty_entries_are_refused(tmp_path: Path) -> None:
    entries = [(entry(f"set/{k}"), b"") for k in range(1000)]
    assert "more files than expected" in refused(tmp_path, tar(*entries, *whole()), archive())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0, 1, 100, 600, 40_000, 80_000])
def test_a_truncated_archive_is_refused(tmp_path: Path, zipped: bool, keep: int) -> None:
    raw = tar(*whole(), zipped=zipped)[:keep]
    refused(tmp_path, raw, archive("set.tar.gz" if zipped else "set.tar"))


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    raw = bytearray(tar(*whole(), zipped=False))
    raw[20_000] ^= 1
    assert "has MD5" in refused(tmp_path, bytes(raw), archive("set.tar"))


@pytest.mark.parametrize("name", ["set.tar.gz", "set.tar", "set.gz"])
def test_garbage_is_refused(tmp_path: Path, name: str) -> None:
    content = CONTENT if "tar" in name else {"set/batch_0": b"x"}
    refused(tmp_path, np.random.default_rng(0).bytes(5000), archive(name, content))
