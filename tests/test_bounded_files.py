"""Folders from elsewhere: pipes are not waited for, nothing fills the memory, links are not written through."""

import os
import tracemalloc
from pathlib import Path

import pytest

from advdpnp import fence, lock
from advdpnp.bounded_files import no_link, read_bytes, read_text
from advdpnp.experiments import read_changes
from advdpnp.indices import parse_indices
from advdpnp.predicting.inputs import find_images
from advdpnp.runs import Run, read_json
from advdpnp.sweeping.records import held


def test_a_file_is_read_up_to_its_size_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\r\n\xc3\xa9")
    assert read_bytes(tmp_path / "a", 5) == b"a\r\n\xc3\xa9" and read_text(tmp_path / "a", 5) == "a\né"
    with pytest.raises(ValueError, match="at most 4 bytes; got a larger one"):
        read_bytes(tmp_path / "a", 4)


def test_of_a_file_that_is_too_large_nothing_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 33)
    tracemalloc.start()
    with pytest.raises(ValueError, match="at most 1,073,741,824 bytes; got a larger one"):
        read_bytes(tmp_path / "a", 1 << 30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc on this system")
def test_a_file_that_is_longer_than_it_says_is_read_to_its_end_or_to_the_bound() -> None:
    # As one that grows while it is read, such a file says 0 bytes.
    assert b"Threads" in read_bytes(Path("/proc/self/status"), 1 << 16)
    with pytest.raises(ValueError, match="at most 10 bytes"):
        read_bytes(Path("/proc/self/status"), 10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name on this system")
def test_a_pipe_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(ValueError, match="must be a file; got a pipe or a device"):
            read_bytes(path, 10)
    os.mkfifo(tmp_path / "config.json")
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(ValueError, match="pipe"):
        read_json(tmp_path / "config.json")
    with pytest.raises(FileNotFoundError):
        read_changes(tmp_path / "pipe.yaml")
    with pytest.raises(ValueError, match="pipe"):
        find_images([tmp_path / "pipe.yaml"])
    with pytest.raises(ValueError):
        parse_indices(tmp_path / "pipe.yaml")
    assert lock.owner_of(tmp_path / ".lock") is None


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        read_bytes(tmp_path, 10)


def written(run: Run) -> tuple[Path, Path, Path]:
    """Files that a training writes to, rather than replaces."""
    return run.lock_path, run.log_path, run.folder / "train.fence"


def refused(run: Run) -> None:
    """None of them is written to."""
    with (
        pytest.raises(OSError, match=r"where a file should be, remove it.*\.lock"),
        lock.only_process(run.lock_path, "it"),
    ):
        pass
    with pytest.raises(OSError, match=r"train\.jsonl"):
        run.append_epoch({"epoch": 1})
    with pytest.raises(OSError, match=r"train\.fence"):
        fence.claim(run.folder / "train.fence")


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows links")
def test_what_a_link_leads_to_is_not_written(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    for path in written(run):
        path.symlink_to(precious)
    refused(run)
    assert precious.read_text() == "keep" and run.lock_path.is_symlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name on this system")
def test_a_pipe_in_the_place_of_a_file_is_neither_waited_for_nor_written(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for path in written(run):
        os.mkfifo(path)
    refused(run)
    assert not held(run.lock_path)


def test_a_new_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        with open(tmp_path / "a", "a", opener=no_link) as file:
            file.write("x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").read_text() == "x"
    if os.name != "nt":
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
