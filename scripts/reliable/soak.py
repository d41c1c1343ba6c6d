"""Many tiny runs in one process: is its memory the same in the end?"""

import ctypes
import gc
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from advdpnp import api
from advdpnp.experiments import experiment
from advdpnp.runs import Json, Run
from advdpnp.weights_file import read_tensors

_SETTINGS = ("recipe.epochs=1", "recipe.train_images=16", "recipe.holdout=0", "recipe.batch_size=8")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# The first runs load what all later ones use.
WARM_UP = 0.2
# Looks at the memory through which a line can be drawn.
_FEWEST = 4
# Of one file of weights, each way.
_READS = 50


class _Mallinfo2(ctypes.Structure):
    """What glibc tells of its heap (mallinfo2(3)), in bytes or blocks."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def resident_kib() -> int:
    """Memory that this process has of the machine, in KiB: what is in use, and what the allocator keeps for later."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE // 1024


def allocated_kib() -> int | None:
    """Of that, what C and C++ have in use, tensors included, in KiB; None where the C library cannot tell."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = _Mallinfo2
    found = library.mallinfo2()
    return int(found.uordblks + found.hblkhd) // 1024


# What is looked at; numbers of Python are kept apart from the heap of C.
LOOKS: Mapping[str, Callable[[], int | None]] = {
    "resident_kib": resident_kib,
    "allocated_kib": allocated_kib,
    "python_blocks": sys.getallocatedblocks,
    "open_files": lambda: sum(1 for _ in Path("/proc/self/fd").iterdir()),
}


def slope(runs: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Growth for each run, by least squares over the samples after the warm-up, and its standard error."""
    kept = [place for place, number in enumerate(runs) if number >= WARM_UP * runs[-1]]
    x, y = np.array([runs[i] for i in kept], float), np.array([values[i] for i in kept], float)
    x -= x.mean()
    found = float((x * y).sum() / (x * x).sum())
    rest = y - y.mean() - found * x
    return found, float(np.sqrt((rest * rest).sum() / max(len(x) - 2, 1) / (x * x).sum()))


def soak(work: Path, runs: int, minutes: float, every: int, keep: Callable[[Json], None]) -> Json:
    """Train, attack and remove one tiny run after the other, with memory and open files looked at now and then.

    `keep` gets what is known so far at each look, so that an end from outside loses nothing.
    """
    readers = _blocks_per_tensor(work)
    # Nothing of a git is asked, which would be several processes for each run.
    path, os.environ["PATH"] = os.environ.get("PATH", ""), ""
    at, seen = list[int](), {name: list[int]() for name in LOOKS}
    began, done = time.monotonic(), 0
    try:
        while done < runs and time.monotonic() - began < 60 * minutes:
            _one(work, done)
            done += 1
            if done % every == 0 or done == runs:
                gc.collect()
                at.append(done)
                for name, look in LOOKS.items():
                    if (value := look()) is not None:
                        seen[name].append(value)
                found = _found(at, seen, runs, time.monotonic() - began) | {"blocks_per_tensor": readers}
                if len(at) > _FEWEST:
                    keep(found)
    finally:
        os.environ["PATH"] = path
    return found


def _found(at: list[int], seen: Mapping[str, list[int]], asked: int, seconds: float) -> Json:
    return {
        "runs": at[-1],
        "asked": asked,
        "seconds": round(seconds, 1),
        "seconds_of_work": round(time.process_time(), 1),
        "growth": {name: _growth(at, values) for name, values in seen.items() if values},
        "at": list(at),
        "seen": {name: list(values) for name, values in seen.items()},
    }


def _growth(at: list[int], values: list[int]) -> Json:
    per_run, error = slope(at, values) if len(at) > 1 else (0.0, 0.0)
    return {
        "after_warm_up": values[int(WARM_UP * len(values))],
        "at_the_end": values[-1],
        "per_run": round(per_run, 4),
        "error": round(error, 4),
    }


def _one(work: Path, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = _trained(work, seed)
        api.evaluate(run.folder, ["fgsm"], suite_name="soak", limit=8, device="cpu")
    shutil.rmtree(work)


def _trained(work: Path, seed: int) -> Run:
    return api.train(experiment("digits/tiny/st", settings=_SETTINGS, seed=seed), work, device="cpu")


def _blocks_per_tensor(work: Path) -> Json:
    """Memory blocks of Python that a tensor leaves behind when its file is read and let go of, for two readers."""
    from safetensors import safe_open

    def by_safe_open(path: Path) -> int:
        with safe_open(path, framework="pt") as file:
            return sum(1 for name in file.keys() if file.get_tensor(name) is not None)  # noqa: SIM118

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = _trained(work, 0).weights_path("last")
    found = {
        "safe_open of safetensors": _left_behind(by_safe_open, path),
        "ours": _left_behind(lambda path: len(read_tensors(path)[0]), path),
    }
    shutil.rmtree(work)
    return found


def _left_behind(read: Callable[[Path], int], path: Path) -> float:
    # The first reads load what all later ones use.
    tensors = [read(path) for _ in range(_READS)][-1]
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(_READS):
        read(path)
    gc.collect()
    return round((sys.getallocatedblocks() - before) / _READS / tensors, 2)
