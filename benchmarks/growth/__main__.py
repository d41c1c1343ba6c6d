"""Measure how cost grows, and write docs/growth.md: OMP_NUM_THREADS=1 PYTHONPATH=benchmarks python -m growth

Each point is a process of its own, one thread; about twenty minutes on a core with nothing else to do. Stopped, it goes
on where it was.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from growth.axes import AXES, Setting
from growth.measure import measure, measured
from growth.page import STORED, write_page


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m growth", description="How time and memory grow.")
    parser.add_argument(
        "--only", nargs="*", choices=[axis.name for axis in AXES], metavar="AXIS", help="all by default"
    )
    parser.add_argument("--out", type=Path, default=STORED, help="JSON file of the result")
    parser.add_argument("--page", action="store_true", help="only write docs/growth.md from what is stored")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.point is not None:
        torch.set_num_threads(1)
        print(json.dumps(measured(Setting(**chosen.point))))
        return 0
    if not chosen.page:
        axes = [axis for axis in AXES if not chosen.only or axis.name in chosen.only]
        try:
            measure(chosen.out, lambda line: print(line, flush=True), axes)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
    if chosen.out == STORED:
        print(write_page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
