"""How long a report on many runs takes, and how large its page is.

    OMP_NUM_THREADS=1 python benchmarks/report_scale.py 50 200 --out benchmarks/results/report-scale.json

The runs are copies of those under results/, each with a seed of its own: evaluations, logs, and arrays for figures
where the original has them. CPU seconds are those of the process, which a busy neighbor changes less than the clock on
the wall.
"""

import argparse
import shutil
import tempfile
import time
import warnings
from itertools import cycle, islice
from pathlib import Path

import torch

from advdpnp.api import environment
from advdpnp.report import write_report
from advdpnp.report.run_folders import run_folders
from advdpnp.runs import Json, list_runs, read_json, write_json

RESULTS = Path(__file__).parents[1] / "results"


def copies(originals: list[Path], count: int, root: Path) -> None:
    """Copy runs, again and again, into data/backbone/method/seed-<n> with a seed of its own."""
    for number, original in enumerate(islice(cycle(originals), count), start=1000):
        folder = root.joinpath(*original.parts[-4:-1], f"seed-{number}")
        shutil.copytree(original, folder)
        write_json(folder / "config.json", read_json(folder / "config.json") | {"seed": number})


def measured(count: int, results: Path) -> Json:
    """The report on so many runs."""
    with tempfile.TemporaryDirectory() as folder:
        runs, out = Path(folder) / "runs", Path(folder) / "report"
        copies(list_runs(results), count, runs)
        wall, cpu = time.perf_counter(), time.process_time()
        with warnings.catch_warnings(record=True) as left_out:
            page = write_report(run_folders([runs]), out)
        figures = list((out / "figures").iterdir())
        return {
            "runs": count,
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "wall_seconds": round(time.perf_counter() - wall, 2),
            "page_bytes": page.stat().st_size,
            "figures": len(figures),
            "figure_bytes": sum(figure.stat().st_size for figure in figures),
            "left_out": len(left_out),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="+", type=int, help="numbers of runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the runs that are copied")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the result")
    asked = parser.parse_args()
    rows = [measured(count, asked.results) for count in asked.counts]
    write_json(asked.out, {"reports": rows, "environment": environment(torch.device("cpu"))})
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
