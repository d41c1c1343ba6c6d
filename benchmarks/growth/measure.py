"""Every point in a process of its own, into one JSON file, complete after every point, so that it goes on."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from advdpnp.bench.ceilings import describe_machine
from advdpnp.runs import Json, read_json, write_json
from advdpnp.stored_values import differences
from growth.axes import AXES, Axis, Setting
from growth.works import head_work, prepared
from peaks import peak_memory

# Processor seconds that rounds may take before no further one is begun.
ROUNDS, ENOUGH = 5, 10.0
_SAME = ("cpu", "cpu_family_model", "cpu_instructions", "torch", "threads")


def measured(setting: Setting) -> Json:
    """One point, in this process, which has done nothing else: peaks of memory, then processor seconds of rounds."""
    torch.set_num_threads(1)
    work, images = prepared(setting)
    found: Json = {"images": images, "memory_mib": peak_memory(work), "seconds": _rounds(work)}
    if setting.work == "training step":
        head = head_work(setting)
        head()
        found["head_seconds"] = _rounds(head)
    return found | {"load_average": round(os.getloadavg()[0], 2)}


def _rounds(work: Callable[[], object]) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < ROUNDS and sum(seconds) < ENOUGH:
        began = time.process_time()
        work()
        seconds.append(round(time.process_time() - began, 6))
    return seconds


def measure(out: Path, tell: Callable[[str], None], axes: Sequence[Axis] = AXES) -> Json:
    """Measure the points that `out` does not have yet; each is stored at once.

    Raises:
        ValueError: the file is of another machine.
    """
    result = _begin(out)
    for axis in axes:
        rows = result["axes"].setdefault(axis.name, [])
        for setting in axis.points():
            if any(row["setting"] == setting.json() for row in rows):
                continue
            row = {"setting": setting.json()} | _in_a_process(setting)
            rows.append(row)
            write_json(out, result)
            seconds, peak = statistics.median(row["seconds"]), row["memory_mib"]["process"]
            tell(f"{axis.name} {getattr(setting, axis.name)}, {setting.work}: {seconds:.4g} s, {peak:.0f} MiB")
    return result


def _begin(out: Path) -> Json:
    machine = describe_machine(torch.device("cpu"))
    if not out.exists():
        return {"schema": 1, "machine": machine, "axes": {}}
    stored = read_json(out)
    theirs, ours = ({key: each.get(key) for key in _SAME} for each in (stored["machine"], machine))
    if found := list(differences(theirs, ours)):
        raise ValueError(f"{out} is of another machine ({'; '.join(found)}): remove it, or give another --out")
    return stored


def _in_a_process(setting: Setting) -> Json:
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "growth", "--point", json.dumps(setting.json())],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    row: Json = json.loads(found.stdout)
    return row
