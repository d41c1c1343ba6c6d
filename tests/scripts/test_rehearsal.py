"""Slot A and a training in two pieces as they will be run, tiny and on a CPU; and a call that is killed for real."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gpu_slot
import warm
from advdpnp.metrics import unpack
from advdpnp.runs import read_json
from gpu.gathered import misfits
from gpu.rehearse import write_stand_ins

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_slot.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def quick_to_start(folder: Path) -> dict[str, str]:
    """An environment whose processes start their workers as warm.py does, and so need not import torch for each."""
    return {**ENVIRONMENT, "WARM_PYTHON": str(warm.commands(folder) / "python")}


@pytest.mark.slow
def test_the_rehearsal_of_everything(tmp_path: Path) -> None:
    command = [str(SCRIPT), "rehearse", "--folder", str(tmp_path / "slot")]
    done = warm.run(command, env=quick_to_start(tmp_path / "commands"))
    assert done.returncode == 0, done.stderr
    assert "all is well" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_call_killed_at_a_random_moment_has_left_what_it_had(seed: int, tmp_path: Path) -> None:
    write_stand_ins(tmp_path / "files", images=1)
    command = [
        str(SCRIPT), "call", "2", "--scale", "tiny", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    slot_path, chance = tmp_path / "out" / "slot.json", random.Random(seed)
    process: warm.Process | subprocess.Popen[bytes]
    if seed == 0:
        command = [sys.executable, *command]
        process = subprocess.Popen(command, env=ENVIRONMENT, process_group=0, stderr=subprocess.DEVNULL)
    else:
        process = warm.start(command, env=quick_to_start(tmp_path / "commands"))
    wanted, deadline = (
        chance.choice(["smoke-", "ladder", "train-at", "measure-at", "train-mean"]),
        time.monotonic() + 900,
    )
    while time.monotonic() < deadline and process.poll() is None:
        if slot_path.exists() and wanted in slot_path.read_text():
            break
        time.sleep(0.1)
    time.sleep(chance.uniform(0, 3))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    slot = read_json(slot_path)
    assert wanted in json.dumps(slot) and misfits(tmp_path / "out") == []
    for arm in slot["arms"].values():
        assert [line["epoch"] for line in arm["train"]] == list(range(1, len(arm["train"]) + 1))
        for result in arm["eval"].values():
            assert len(unpack(result["clean_verdicts"], result["n"])) == result["n"]


def test_the_commands_on_the_page_are_commands() -> None:
    page = (SCRIPT.parents[1] / "docs" / "how-to" / "gpu.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("python") and "gpu_slot.py" in line]
    parsed = [vars(gpu_slot.parser().parse_args(shlex.split(line)[2:])) for line in lines]
    assert [command["run"].__name__ for command in parsed] == [
        "pack", "call", "call", "call", "collect", "go_on", "go_on", "go_on",
    ]  # fmt: skip
    assert [command.get("number") for command in parsed[1:4]] == [1, 2, 3]


def test_errors_of_the_user_are_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "collect", str(tmp_path / "none"), "--into", str(tmp_path / "results")],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "nothing can be read" in done.stderr
