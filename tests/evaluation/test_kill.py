"""A real kill -9 of an evaluation, at random moments of every search."""

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import warm

# Each search takes half a second at least on a fast machine, and a kill comes in its first tenth.
ATTACKS = [
    "apgd-ce:eps=0.14,steps=200", "apgd-t:eps=0.14,steps=100,targets=3", "fab-t:eps=0.14,steps=80,targets=3",
    "square:eps=0.14,steps=1000",
]  # fmt: skip
OPTIONS = ["--threads", "1", "--suite", "killed", *(word for attack in ATTACKS for word in ("--attack", attack))]


def start(name: str, *arguments: str) -> warm.Process:
    return warm.start(["-m", "advdpnp", name, *arguments])


def evaluate(run: Path, *options: str) -> warm.Process:
    return start("evaluate", str(run), *OPTIONS, *options)


def train(out: Path) -> Path:
    settings = ["--set", "recipe.epochs=1", "--set", "recipe.train_images=480", "--threads", "1"]
    assert start("train", "digits/tiny/at", "--out", str(out), *settings).wait(timeout=240) == 0
    return out / "digits/tiny/at/seed-0"


def verdicts(run: Path) -> list[Any]:
    """Everything of the result that is no clock time; norms are of whichever attempt came first."""
    result = json.loads((run / "eval/killed.json").read_text())
    times = ("seconds", "largest_norm", "mean_norm")
    rows = [{key: value for key, value in row.items() if key not in times} for row in result["attacks"]]
    return [result["clean_verdicts"], result["worst_case_accuracy"], *rows]


def searches(partial: Path) -> int:
    """How many searches a partial result knows of."""
    return len(json.loads(partial.read_text())["stages"]) if partial.exists() else 0


def wait_for(partial: Path, search: int, process: warm.Process) -> None:
    """Return at the first write of a search, or at the end."""
    while process.poll() is None and searches(partial) < search:
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_every_verdict_is_the_same(tmp_path: Path) -> None:
    run = train(tmp_path)
    assert evaluate(run).wait(timeout=240) == 0
    whole = verdicts(run)
    (run / "eval/killed.json").unlink()
    partial, chance = run / "eval/killed.partial.json", random.Random(0)
    seen, process = set(), evaluate(run)
    for search in range(1, len(ATTACKS) + 1):
        wait_for(partial, search, process)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        status = process.wait()
        if status == 0:
            break
        assert status == -signal.SIGKILL
        seen.add(searches(partial))
        process = evaluate(run, "--resume")
    assert process.wait(timeout=240) == 0
    assert len(seen) > 2, f"kills fell into searches {seen} alone"
    assert verdicts(run) == whole
    assert not partial.exists() and not list((run / "eval").glob(".*")), "a killed write left something behind"
