"""The peak of memory of every side, each in a process of its own, into one JSON file that a later call goes on with.

    OMP_NUM_THREADS=1 PYTHONPATH=benchmarks:tests python -m peers.memory [--ci] [--only GROUP ...]

Run it in the environment of `make bench`. What a side takes beyond network, images and libraries is what counts.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

# Intervals need it: a library that a first evaluation would load is none of its memory.
import scipy.special  # noqa: F401
import torch

from advdpnp.bench.ceilings import describe_machine
from advdpnp.runs import Json, read_json, write_json
from peaks import peak_memory
from peers.measure import CI, FULL, Protocol, plan
from peers.memory_text import RESULTS, table
from peers.side import Group
from peers.subject import CPU


def of_side(protocol: Protocol, group: str, side: str) -> Json:
    """The peaks of one side, in this process, which has done nothing else."""
    found, by_name = _group(protocol, group), lambda one: one.name == side
    work = next(filter(by_name, found.sides)).prepare()(1)
    # A second run, in which tensors are followed, is as good as a first one but for a search, which takes minutes.
    return peak_memory(work, tensors=not group.endswith("/autoattack"))


def measure(protocol: Protocol, out: Path, only: list[str], tell: Callable[[str], None]) -> Json:
    """Measure the sides that `out` does not have yet; each is stored at once."""
    result = read_json(out) if out.exists() else {"schema": 1, "machine": describe_machine(CPU), "groups": {}}
    for name in (name for names, _ in plan(protocol) for name in names if not only or name in only):
        group = _group(protocol, name)
        entry = result["groups"].setdefault(name, {"title": group.title, "sides": {}})
        for side in group.sides:
            # A compiler is no part of the work.
            if side.name not in entry["sides"] and "compiled" not in side.name:
                entry["sides"][side.name] = {"precision": side.precision} | _in_a_process(protocol, name, side.name)
                write_json(out, result)
                tell(f"{name}, {side.name}: {entry['sides'][side.name]}")
    return result


def _group(protocol: Protocol, name: str) -> Group:
    groups = next(make() for names, make in plan(protocol) if name in names)
    return next(group for group in groups if group.name == name)


def _in_a_process(protocol: Protocol, group: str, side: str) -> Json:
    words = [*(["--ci"] if protocol.networks == CI.networks else []), "--side", group, side]
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "peers.memory", *words], stdout=subprocess.PIPE, text=True, check=True
    )
    # A library may print.
    row: Json = json.loads(found.stdout.splitlines()[-1])
    return row


def main() -> None:
    """The command line."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ci", action="store_true", help="resnet8, batch 64; AutoAttack on the digits")
    parser.add_argument("--only", nargs="*", default=[], metavar="GROUP", help="such as resnet8/attack; all by default")
    parser.add_argument("--out", type=Path, help="JSON file; by default one in benchmarks/results")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    # A network that has not been trained takes as much, and leaves no freed memory of its training behind.
    protocol = replace(CI if asked.ci else FULL, training_steps=0)
    if asked.side:
        print(json.dumps(of_side(protocol, *asked.side)))
        return
    out = asked.out or RESULTS / f"memory-{'ci' if asked.ci else 'full'}.json"
    print(table(measure(protocol, out, asked.only, lambda line: print(line, flush=True))))


if __name__ == "__main__":
    main()
