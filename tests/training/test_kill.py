"""A real kill -9, at random moments, mid-epoch included."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from advdpnp.runs import Run

COMMAND = [
    sys.executable, "-m", "advdpnp.cli", "train", "digits/tiny/adv-dpnp", "--threads", "1", "--checkpoint-seconds", "0",
    "--set", "recipe.epochs=3", "--set", "recipe.train_images=640", "--set", "recipe.batch_size=32",
]  # fmt: skip


def start(out: Path, *options: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*COMMAND, "--out", str(out), *options], env=environment, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_sigkill_at_any_moment_then_resume_ends_with_identical_weights(tmp_path: Path) -> None:
    assert start(tmp_path / "whole").wait() == 0
    chance, kills = random.Random(0), 0
    began = time.monotonic()
    process = start(tmp_path / "killed")
    while time.monotonic() - began < 240:
        state = tmp_path / "killed/digits/tiny/adv-dpnp/seed-0/checkpoints/state.pt"
        while not state.exists() and process.poll() is None:
            time.sleep(0.05)
        try:
            # Long enough to import and get some steps further, and with luck into the middle of a write.
            process.wait(timeout=chance.uniform(3.0, 6.0))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            process = start(tmp_path / "killed", "--resume")
    assert process.wait() == 0
    assert kills >= 1
    whole, killed = (Run(tmp_path / name / "digits/tiny/adv-dpnp/seed-0") for name in ("whole", "killed"))
    for which in ("last", "best"):
        assert whole.weights_path(which).read_bytes() == killed.weights_path(which).read_bytes()
