import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from advdpnp import fence
from advdpnp.fence import SupersededError, claim, fenced
from advdpnp.runs import Run, write_bytes

# Claims, says so, waits for a line, then writes under what may be an old claim.
STALE = """
import sys; from pathlib import Path
from advdpnp.fence import claim, fenced; from advdpnp.runs import write_bytes
with fenced(claim(Path(sys.argv[1]))):
    print("claimed", flush=True); sys.stdin.readline(); write_bytes(Path(sys.argv[2]), b"stale")
"""


def test_claims_are_numbered_and_each_leaves_a_line(tmp_path: Path) -> None:
    path = tmp_path / "run" / "train.fence"
    assert [claim(path).token for _ in range(3)] == [1, 2, 3]
    lines = path.read_text().splitlines()
    assert [line.split(" on ")[0] for line in lines] == [f"{k} process {os.getpid()}" for k in (1, 2, 3)]


def test_an_older_claim_writes_nothing_and_the_last_one_does(tmp_path: Path) -> None:
    first, path, run = claim(tmp_path / "fence"), tmp_path / "result.json", Run(tmp_path)
    with fenced(first):
        write_bytes(path, b"first")
        run.append_epoch({"epoch": 1})
    second = claim(tmp_path / "fence")
    with fenced(first):
        with pytest.raises(SupersededError, match="claimed by another"):
            write_bytes(path, b"stale")
        with pytest.raises(SupersededError):
            run.append_epoch({"epoch": 2})
        with pytest.raises(SupersededError):
            run.keep_epochs(0)
    assert path.read_bytes() == b"first" and run.epochs() == [{"epoch": 1}]
    assert not list(tmp_path.glob(".*"))
    with fenced(second):
        write_bytes(path, b"second")
    # Nobody else is concerned.
    write_bytes(path, b"by hand")


def test_a_process_that_was_thought_dead_comes_back_and_writes_nothing(tmp_path: Path) -> None:
    path, result = tmp_path / "fence", tmp_path / "result"
    stale = subprocess.Popen(
        [sys.executable, "-c", STALE, path, result], stdin=-1, stdout=-1, stderr=subprocess.PIPE, text=True
    )
    assert stale.stdout is not None and stale.stdout.readline() == "claimed\n"
    with fenced(claim(path)):
        write_bytes(result, b"new")
    _, error = stale.communicate("\n")
    assert stale.returncode == 1 and "SupersededError" in error
    assert result.read_bytes() == b"new"


def test_no_claim_is_made_while_a_file_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fence"
    monkeypatch.setattr(fence, "PATIENCE", 0.05)
    with fenced(claim(path)), fence.writing(), pytest.raises(OSError, match="held by another process"):
        claim(path)
    assert claim(path).token == 2


def test_a_fence_that_was_removed_lets_nobody_through(tmp_path: Path) -> None:
    mine = claim(tmp_path / "fence")
    mine.path.unlink()
    with fenced(mine), pytest.raises(SupersededError, match="is gone"):
        write_bytes(tmp_path / "result", b"")


def test_without_locks_the_numbers_still_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refused)
    first, second = claim(tmp_path / "fence"), claim(tmp_path / "fence")
    with fenced(first), pytest.raises(SupersededError):
        write_bytes(tmp_path / "result", b"stale")
    with fenced(second):
        write_bytes(tmp_path / "result", b"new")
