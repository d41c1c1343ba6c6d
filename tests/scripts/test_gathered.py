"""What comes back: whole at every moment, and no more than may come back."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from advdpnp.runs import read_json, write_json
from gpu.gathered import FILE_BYTES, Gathering, gather, misfits, shorten_log

HERE = Path(__file__).parent


def put(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def test_what_fits_fits(tmp_path: Path) -> None:
    for number in range(6):
        put(tmp_path / f"file-{number}.json", 1000)
    put(tmp_path / "a" / "b" / "file_1.safetensors", FILE_BYTES)
    assert misfits(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "size", "text"),
    [
        ("large", FILE_BYTES + 1, "16777216 come back"),
        ("a/b/c/deep", 1, "folders down"),
        ("an odd name", 1, "characters"),
        ("größe", 1, "characters"),
    ],
)
def test_what_does_not_fit_is_named(name: str, size: int, text: str, tmp_path: Path) -> None:
    put(tmp_path / name, size)
    (found,) = misfits(tmp_path)
    assert text in found


def test_too_many_files_or_bytes_are_named(tmp_path: Path) -> None:
    for number in range(9):
        put(tmp_path / str(number), FILE_BYTES // 2)
    many, large = misfits(tmp_path)
    assert many == "9 files, of which 8 come back" and large.endswith("of which 67108864 come back")


def test_a_log_keeps_its_end_and_its_writers(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with path.open("ab") as file:
        file.write(b"x" * 5000 + b"end")
        file.flush()
        shorten_log(path, 1000)
        file.write(b" more")
    content = path.read_bytes()
    assert len(content) < 1000 and content.endswith(b"xend more") and content.startswith(b"(the beginning")


def test_what_is_damaged_does_not_hide_the_rest(tmp_path: Path) -> None:
    write_json(tmp_path / "stages" / "good.json", {"a": 1})
    (tmp_path / "stages" / "torn.json").write_text('{"a":')
    (tmp_path / "stages" / "nan.json").write_text('{"a": NaN}')
    run = tmp_path / "runs" / "at" / "digits" / "tiny" / "at" / "seed-0"
    write_json(run / "config.json", {"b": 2})
    (run / "train.jsonl").write_text('{"epoch": 1}\n{"epoch')
    found = gather(tmp_path, {"commit": "abc"})
    assert found["commit"] == "abc" and found["stages"]["good"] == {"a": 1}
    assert set(found["stages"]["torn"]) == set(found["stages"]["nan"]) == {"unreadable"}
    assert found["arms"]["at"]["train"] == [{"epoch": 1}] and not found["arms"]["at"]["trained"]


def test_a_change_is_gathered_and_no_change_is_not(tmp_path: Path) -> None:
    gathering = Gathering(tmp_path / "work", tmp_path / "out", {})
    gathering.look(now=True)
    first = (tmp_path / "out" / "slot.json").stat().st_mtime_ns
    gathering._next = 0.0
    gathering.look()
    assert (tmp_path / "out" / "slot.json").stat().st_mtime_ns == first
    write_json(tmp_path / "work" / "stages" / "one.json", {"n": 1})
    gathering._next = 0.0
    gathering.look()
    assert read_json(tmp_path / "out" / "slot.json")["stages"] == {"one": {"n": 1}}


CALL = """
import sys
from pathlib import Path
from gpu.scale import TINY
from gpu.slot import Places, Slot
folder = Path(sys.argv[1])
worker = (sys.executable, sys.argv[2])
slot = Slot(Places(folder / "work", folder / "out"), TINY, 1, worker=worker)
(folder / "ready").touch()
for number in range(1000):
    stages = [slot.stage(f"{number}-{k}", "x", 60, options={"writes": 20, "pause": 0.01}) for k in range(2)]
    slot.run(stages, at_once=2)
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_a_random_moment_what_is_there_is_whole(seed: int, tmp_path: Path) -> None:
    scripts = str(HERE.parents[1] / "scripts")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([scripts, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", CALL, str(tmp_path), str(HERE / "fake_worker.py")]
    call = subprocess.Popen(command, env=environment, process_group=0, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(random.Random(seed).uniform(0, 1.0))
    os.killpg(call.pid, signal.SIGKILL)
    call.wait()
    content = read_json(tmp_path / "out" / "slot.json")
    assert content["schema"] == 1 and [entry["call"] for entry in content["calls"]] == [1]
    assert all("unreadable" not in stage for stage in content["stages"].values())
    for path in (tmp_path / "work").rglob("*.json"):
        read_json(path)
    assert misfits(tmp_path / "out") == []
