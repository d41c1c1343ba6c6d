"""Many tiny runs in one process: is its memory the same in the end?"""

import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from advdpnp import api
from advdpnp.experiments import experiment
from advdpnp.runs import Json

_SETTINGS = ("recipe.epochs=1", "recipe.train_images=16", "recipe.holdout=0", "recipe.batch_size=8")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# The first runs load what all later ones use.
WARM_UP = 0.2
# Looks at the memory through which a line can be drawn.
_FEWEST = 4


def resident_kib() -> int:
    """Memory of this process that is in use, in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE // 1024


def slope(runs: list[int], kib: list[int]) -> tuple[float, float]:
    """KiB for each run, by least squares over the samples after the warm-up, and its standard error."""
    kept = [place for place, number in enumerate(runs) if number >= WARM_UP * runs[-1]]
    x, y = np.array([runs[i] for i in kept], float), np.array([kib[i] for i in kept], float)
    x -= x.mean()
    found = float((x * y).sum() / (x * x).sum())
    rest = y - y.mean() - found * x
    return found, float(np.sqrt((rest * rest).sum() / max(len(x) - 2, 1) / (x * x).sum()))


def soak(work: Path, runs: int, minutes: float, every: int, keep: Callable[[Json], None]) -> Json:
    """Train, attack and remove one tiny run after the other, with memory and open files looked at now and then.

    `keep` gets what is known so far at each look, so that an end from outside loses nothing.
    """
    # Nothing of a git is asked, which would be several processes for each run.
    path, os.environ["PATH"] = os.environ.get("PATH", ""), ""
    numbers, kib, files = list[int](), list[int](), list[int]()
    began, done = time.monotonic(), 0
    try:
        while done < runs and time.monotonic() - began < 60 * minutes:
            _one(work, done)
            done += 1
            if done % every == 0 or done == runs:
                numbers.append(done)
                kib.append(resident_kib())
                files.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
                if len(numbers) > _FEWEST:
                    keep(_found(numbers, kib, files, runs, time.monotonic() - began))
    finally:
        os.environ["PATH"] = path
    return _found(numbers, kib, files, runs, time.monotonic() - began)


def _found(numbers: list[int], kib: list[int], files: list[int], asked: int, seconds: float) -> Json:
    per_run, error = slope(numbers, kib)
    return {
        "runs": numbers[-1],
        "asked": asked,
        "seconds": round(seconds, 1),
        "seconds_of_work": round(time.process_time(), 1),
        "kib_per_run": round(per_run, 4),
        "kib_per_run_error": round(error, 4),
        "kib_after_warm_up": kib[int(WARM_UP * len(kib))],
        "kib_at_the_end": kib[-1],
        "open_files": [min(files), max(files)],
        "at": numbers,
        "kib": kib,
    }


def _one(work: Path, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = api.train(experiment("digits/tiny/st", settings=_SETTINGS, seed=seed), work, device="cpu")
        api.evaluate(run.folder, ["fgsm"], suite_name="soak", limit=8, device="cpu")
    shutil.rmtree(work)
