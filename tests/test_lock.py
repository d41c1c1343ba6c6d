import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from advdpnp.lock import only_process

HOLDER = "import sys, time; from pathlib import Path; from advdpnp.lock import only_process\n"
HOLDER += "with only_process(Path(sys.argv[1]), 'it'): print('held', flush=True); time.sleep(60)"


def holder(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_first_ones_number_and_a_killed_ones_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    process = holder(path)
    try:
        wanted = rf"^runs/a is in use by process {process.pid} on .+: wait"
        with pytest.raises(ValueError, match=wanted), only_process(path, "runs/a"):
            pass
        assert path.is_file()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with only_process(path, "runs/a"):
        assert str(os.getpid()) in path.read_text()
    assert not path.exists()


def test_a_lock_is_free_after_an_error_and_holds_within_a_process(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with pytest.raises(RuntimeError), only_process(path, "it"):
        raise RuntimeError
    with only_process(path, "it"):
        with pytest.raises(ValueError, match=f"process {os.getpid()} on"), only_process(path, "it"):
            pass
        assert path.is_file()


def test_a_file_that_is_no_lock_of_ours_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_bytes(b"\xff\x00 torn")
    with only_process(path, "it"):
        assert path.is_file()
