"""Measure, print, and say whether the floors hold: PYTHONPATH=benchmarks:tests python -m peers [--ci] [--only ...]

Run it in the environment of `make bench`. Ends with status 1 where a floor does not hold or a side has failed.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import torch

from advdpnp.bench.ceilings import describe_machine, processor_name
from peers.measure import CI, FULL, Protocol, measure
from peers.page import write_page
from peers.subject import CPU
from peers.text import floors_table, tables
from peers.verdicts import judged

RESULTS = Path(__file__).parents[1] / "results"
_RED, _PLAIN = "\033[31m", "\033[0m"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m peers", description="The package's speed beside that of others.")
    parser.add_argument("--ci", action="store_true", help="resnet8, batch 64, three rounds")
    parser.add_argument("--only", nargs="*", default=[], metavar="GROUP", help="such as resnet8/attack; all by default")
    parser.add_argument(
        "--out", type=Path, help="JSON file; by default one in benchmarks/results named by the processor"
    )
    parser.add_argument("--page", action="store_true", help="only write docs/performance.md from what is stored")
    chosen = parser.parse_args(arguments)
    if chosen.page:
        print(write_page())
        return 0
    torch.set_num_threads(1)
    protocol = _here(CI if chosen.ci else FULL)
    out = chosen.out or RESULTS / f"peers-{processor_name(describe_machine(CPU))}{'-ci' if chosen.ci else ''}.json"
    try:
        result = measure(protocol, out, chosen.only, lambda line: print(line, flush=True))
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{tables(result)}\n\n{_colored(floors_table(result))}\n\n{out}")
    failed = any("error" in row for group in result["groups"].values() for row in group["sides"].values())
    return int(failed or any(row["verdict"] in ("red", "refused") for row in judged(result)))


def _here(protocol: Protocol) -> Protocol:
    """Without bf16 instructions a product in bf16 takes a hundred times as long."""
    return protocol if describe_machine(CPU)["bf16_instructions"] else replace(protocol, precisions=("fp32",))


def _colored(text: str) -> str:
    lines = text.splitlines()
    red = [f"{_RED}{line}{_PLAIN}" if "**under the floor**" in line or "no verdict" in line else line for line in lines]
    return "\n".join(red)


if __name__ == "__main__":
    sys.exit(main())
