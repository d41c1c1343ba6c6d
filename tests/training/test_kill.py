"""A real kill -9, at random moments, mid-epoch included."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import warm
from advdpnp.defenses import DEFENSES
from advdpnp.runs import Run

COMMAND = [
    "-m", "advdpnp", "train", "--threads", "1", "--checkpoint-seconds", "0",
    "--set", "recipe.epochs=2", "--set", "recipe.batch_size=32", "--set", "recipe.holdout=32",
]  # fmt: skip


Process = warm.Process | subprocess.Popen[bytes]


def start(name: str, out: Path, options: Sequence[str]) -> Process:
    command = [*COMMAND, f"digits/tiny/{name}", "--out", str(out), *options]
    # The compiler starts processes of its own, and is to find nothing of ours.
    if "recipe.engine=compiled" not in options:
        return warm.start(command)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *command], env=environment, stderr=subprocess.DEVNULL)


def wait_for_writes(state: Path, count: int, process: Process) -> None:
    """Return once the checkpoint has been written `count` more times."""
    seen = state.stat().st_mtime_ns if state.exists() else 0
    deadline = time.monotonic() + 240
    while count and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        now = state.stat().st_mtime_ns if state.exists() else 0
        count, seen = (count - 1, now) if now != seen else (count, seen)
        time.sleep(0.001)
    assert count == 0, "no checkpoint was written in four minutes"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kills", "options"),
    [
        ("adv-dpnp", 4, ("--set", "recipe.train_images=480")),
        ("adv-dpnp", 2, ("--set", "recipe.train_images=384", "--set", "recipe.precision=bf16")),
        ("adv-dpnp", 2, ("--set", "recipe.train_images=384", "--set", "recipe.engine=compiled")),
        *((name, 1, ("--set", "recipe.train_images=288")) for name in DEFENSES if name != "adv-dpnp"),
    ],
    ids=["fp32", "bf16", "compiled", *(name for name in DEFENSES if name != "adv-dpnp")],
)
def test_sigkill_at_any_moment_then_resume_ends_with_identical_weights(
    name: str, kills: int, options: Sequence[str], tmp_path: Path
) -> None:
    assert start(name, tmp_path / "whole", options).wait() == 0
    chance = random.Random(0)
    killed = tmp_path / f"killed/digits/tiny/{name}/seed-0"
    process = start(name, tmp_path / "killed", options)
    for _ in range(kills):
        # Every step writes, and 9 to 15 make an epoch: kills fall inside and between epochs, some inside a write.
        wait_for_writes(killed / "checkpoints/state.pt", chance.randint(1, 6), process)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process = start(name, tmp_path / "killed", [*options, "--resume"])
    assert process.wait() == 0
    runs = Run(tmp_path / f"whole/digits/tiny/{name}/seed-0"), Run(killed)
    for which in ("last", "best"):
        whole, resumed = (run.weights_path(which).read_bytes() for run in runs)
        assert whole == resumed
    assert not list(killed.rglob(".*")), "a killed write left something behind"
