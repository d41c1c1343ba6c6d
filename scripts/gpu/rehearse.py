"""Slot A from packing to results, and a training in two pieces, on a CPU: everything but the GPU."""

import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from advdpnp.runs import Json, read_json
from gpu.gathered import misfits
from gpu.pack import pack
from gpu.processes import log_line
from gpu.slot import SCRIPT


def rehearse(folder: Path | None = None) -> int:
    """Run everything; 0 if all of it came through whole.

    Args:
        folder: where; by default a temporary folder, removed afterwards.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="slot-") as temporary:
            return rehearse(Path(temporary))
    began = time.monotonic()
    faults = [*_slot_a(folder), *_pieces(folder / "pieces")]
    for fault in faults:
        log_line(f"NOT AS IT SHOULD BE: {fault}")
    log_line(f"rehearsed in {time.monotonic() - began:.0f} s: {'all is well' if not faults else 'see above'}")
    return 1 if faults else 0


def _command(*words: object) -> int:
    line = [sys.executable, str(SCRIPT), *map(str, words)]
    log_line(f"$ gpu_slot.py {' '.join(map(str, words))}")
    return subprocess.run(line, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode


def _slot_a(folder: Path) -> "list[str]":
    carries = pack(write_stand_ins(folder / "files"), folder / "files", folder / "carry", commit="rehearsal")
    outs = [folder / f"back-{number}" for number in (1, 2, 3)]
    faults = []
    for number, out in enumerate(outs, start=1):
        carry = ["--carry", carries[number - 1]] if number < 3 else []
        status = _command("call", number, *carry, "--work", folder / "work", "--out", out, "--scale", "tiny")
        faults += [f"call {number} ended with status {status}"] if status else []
        faults += misfits(out)
    into = folder / "results" / "a"
    status = _command("collect", *outs, "--into", into)
    faults += [f"collect ended with status {status}"] if status else []
    return faults + wrong(read_json(outs[2] / "slot.json")) + _wrong_files(folder)


def write_stand_ins(root: Path, images: int = 150) -> "list[str]":
    """Files of CIFAR-10's form, with few images of noise; their paths."""
    generator, names = np.random.default_rng(0), []
    for number in range(6):
        pixels = generator.integers(0, 256, (images, 3072), dtype=np.uint8)
        content = {b"data": pixels, b"labels": generator.integers(0, 10, images).tolist()}
        names.append(f"cifar-10-batches-py/batch_{number}")
        (root / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        (root / names[-1]).write_bytes(pickle.dumps(content, protocol=3))
    return names


def wrong(slot: Json) -> "list[str]":
    """What a rehearsal's last slot.json lacks."""
    faults = [f"{label} was not trained" for label, arm in slot["arms"].items() if not arm.get("trained")]
    if sorted(slot["arms"]) != ["at", "mean", "sum"]:
        faults.append(f"arms are {sorted(slot['arms'])}")
    for label, arm in slot["arms"].items():
        suites = sorted(arm.get("eval", {}))
        expected = ["autoattack-quick", *(["clean"] if label == "mean" else []), "text"]
        faults += [f"{label} has {suites}"] if suites != expected else []
        faults += [] if arm["eval"].get("text", {}).get("geometry") else [f"{label} has no geometry"]
    ended = {outcome["stage"]: outcome["ended"] for outcome in slot["outcomes"]}
    # A CPU has no CUDA graphs, and that must not stop anything.
    allowed = {"smoke-step": "failed"}
    faults += [f"{stage}: {word}" for stage, word in ended.items() if word != allowed.get(stage, "done")]
    faults += [] if slot["commit"] == "rehearsal" else [f"the commit is {slot['commit']!r}"]
    faults += [] if sorted(slot["weights"]) == ["at", "mean"] else [f"weights of {sorted(slot['weights'])}"]
    return faults


def _wrong_files(folder: Path) -> "list[str]":
    originals = sorted((folder / "files").rglob("batch_*"))
    unpacked = folder / "work" / "data"
    pairs = [(path, unpacked / path.relative_to(folder / "files")) for path in originals]
    return [f"{copy} differs" for path, copy in pairs if not copy.exists() or copy.read_bytes() != path.read_bytes()]


def _pieces(folder: Path) -> "list[str]":
    """Two epochs on one machine, the state out, and the third on another."""
    faults = []
    first = ("--scale", "tiny-full", "--arm", "mean", "--epochs", 3)
    one = _command("go-on", *first, "--work", folder / "1", "--out", folder / "back-1", "--stop-after", 2)
    two = _command("go-on", *first, "--work", folder / "2", "--out", folder / "back-2", "--carry", folder / "back-1")
    faults += [f"the pieces ended with status {one}, {two}"] if one or two else []
    arms = [read_json(folder / f"back-{number}" / "slot.json")["arms"]["mean"] for number in (1, 2)]
    faults += [f"{len(arm['train'])} epochs" for arm, epochs in zip(arms, (2, 3)) if len(arm["train"]) != epochs]
    return faults if arms[1]["trained"] else [*faults, "the second piece did not end"]
