"""CPU seconds until commands answer: --help, list, import, evaluate on 100 digits; of this checkout and of another.

    git worktree add ../before COMMIT
    OMP_NUM_THREADS=1 python benchmarks/start_up.py ../before/src --out benchmarks/results/start-up.json

Both are measured in turn, each in a process of its own; CPU seconds of a process are changed less by a busy neighbor
than the clock on the wall.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from advdpnp.api import environment
from advdpnp.runs import Json, write_json

HERE = Path(__file__).parents[1] / "src"
RUN = "runs/digits/tiny/at/seed-0"
COMMANDS = {
    "--help": ("-m", "advdpnp", "--help"),
    "list": ("-m", "advdpnp", "list"),
    "import torch": ("-c", "import torch"),
    "import torch, advdpnp": ("-c", "import torch, advdpnp"),
    "evaluate": ("-m", "advdpnp", "evaluate", RUN, "--limit", "100"),
}


def cpu_seconds(arguments: tuple[str, ...], source: Path, folder: Path) -> float:
    """User and system time of one process, with its bytecode stored already."""
    environ = {**os.environ, "PYTHONPATH": str(source.resolve()), "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environ, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _trained(source: Path, folder: Path) -> Path:
    """A folder with the run `RUN`, small."""
    folder.mkdir()
    small = ("recipe.epochs=1", "recipe.train_images=96", "recipe.attack.steps=1")
    settings = tuple(word for setting in small for word in ("--set", setting))
    cpu_seconds(("-m", "advdpnp", "train", "digits/tiny/at", *settings), source, folder)
    return folder


def measured(sources: dict[str, Path], repeats: int) -> dict[str, Json]:
    """Of each command the seconds of each source, without those of a first process."""
    with tempfile.TemporaryDirectory() as work:
        # Each evaluates a run of its own: an older one does not know what a newer one may store.
        folders = {key: _trained(source, Path(work, key)) for key, source in sources.items()}
        rows: dict[str, Json] = {}
        for name, arguments in COMMANDS.items():
            rounds = [{k: cpu_seconds(arguments, sources[k], folders[k]) for k in sources} for _ in range(repeats + 1)]
            found = {k: [round(one[k], 3) for one in rounds[1:]] for k in sources}
            medians = {k: statistics.median(values) for k, values in found.items()}
            ratio = round(medians["before"] / medians["here"], 2)
            rows[name] = {"cpu_seconds": found, "median": medians, "before_over_here": ratio}
            print(name, medians, ratio, flush=True)
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="folder src of another checkout")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the result")
    asked = parser.parse_args()
    rows = measured({"before": asked.before, "here": HERE}, asked.repeats)
    write_json(asked.out, {"commands": rows, "environment": environment(torch.device("cpu"))})


if __name__ == "__main__":
    main()
