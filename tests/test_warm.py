"""Processes forked from a server are what `python` would start: they see, say and end the same."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import warm

pytestmark = pytest.mark.slow

SEEN = "import os, sys; print(sys.argv, os.getcwd(), os.environ.get('SEEN'), sys.path[0], 'advdpnp' in sys.modules)"

ENDING = """
import atexit, threading, time
atexit.register(print, "last")
threading.Thread(target=lambda: (time.sleep(0.2), print("second"))).start()
print("first")
"""


def really(arguments: list[str], cwd: Path, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", SEEN, "a", "b c"],
        ["-m", "script", "x"],
        ["script.py", "x"],
        ["-c", "raise SystemExit(3)"],
        ["-c", "raise SystemExit('not like this')"],
        ["-c", "import os; os.kill(os.getpid(), 9)"],
        ["-W", "error", "-c", "import warnings; print(1); warnings.warn('no')"],
        ["-c", ENDING],
    ],
    ids=lambda arguments: arguments[-1][-12:],
)  # fmt: skip
def test_the_same_is_seen_and_printed_and_the_end_is_the_same(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SEEN.replace("sys.argv", "sys.argv[1:]"))
    environment = {**os.environ, "SEEN": "yes"}
    expected, found = (start(arguments, tmp_path, environment) for start in (really, warm.run))
    assert (found.returncode, found.stdout) == (expected.returncode, expected.stdout)
    assert found.stderr.splitlines()[-1:] == expected.stderr.splitlines()[-1:]


def test_another_copy_of_the_package_may_be_run(tmp_path: Path) -> None:
    (tmp_path / "advdpnp").mkdir()
    (tmp_path / "advdpnp" / "__init__.py").write_text("print('another')")
    done = warm.run(["-c", "import advdpnp"], env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.stdout == "another\n", done.stderr


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_a_process_can_be_killed_alone_and_says_so(kill: Callable[[int, int], None], tmp_path: Path) -> None:
    process, other = (warm.start(["-c", "import time; time.sleep(60)"]) for _ in range(2))
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == process.poll() == -signal.SIGKILL
    assert other.poll() is None
    other.send_signal(signal.SIGTERM)
    assert other.wait(10) == -signal.SIGTERM


def test_a_shell_finds_the_commands(tmp_path: Path) -> None:
    path = f"{warm.commands(tmp_path)}:{os.environ['PATH']}"
    (tmp_path / "s.py").write_text("print(7)")
    line = "advdpnp --version | tr a-z A-Z; python s.py; python -c 'raise SystemExit(4)' || echo $?"
    done = subprocess.run(["bash", "-c", line], env={**os.environ, "PATH": path}, cwd=tmp_path, capture_output=True)
    first, *rest = done.stdout.decode().splitlines()
    assert first.startswith("ADVDPNP ") and rest == ["7", "4"], done.stderr
