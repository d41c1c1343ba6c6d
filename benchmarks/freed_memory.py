"""What it costs that freed memory goes back to the system: PGD and an update, with and without `keep_freed_memory`.

OMP_NUM_THREADS=1 python benchmarks/freed_memory.py

adds this processor's measurement to benchmarks/results/freed-memory.json. The choice is for a whole process and cannot
be taken back, so each side is a process of its own, in turn.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from advdpnp.allocator import keep_freed_memory
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.bench.ceilings import describe_machine
from advdpnp.bench.variants import make_bench_model
from advdpnp.models.folding import fold_batchnorm
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json, read_json, write_json
from advdpnp.threat import ThreatModel

OUT = Path(__file__).parent / "results" / "freed-memory.json"
# Network, batch, repeats in a process.
SUBJECTS = (("resnet8", 128, 7), ("resnet8", 64, 7), ("resnet18", 32, 3))
STEPS, ROUNDS = 3, 3
SIDES = ("given back", "kept")


def works(network: str, batch: int) -> dict[str, Callable[[], object]]:
    """An attack on the folded copy, and a forward and backward pass of the network."""
    subject = make_bench_model(network, torch.device("cpu"), batch, STEPS)
    folded, model = fold_batchnorm(subject.model), subject.model.train()
    x, y, noise = subject.x, subject.images.labels, IndexNoise(0, torch.arange(batch))
    budget = Budget(ThreatModel("linf", 8 / 255), STEPS, 2 / 255, "uniform")
    return {
        "attack": lambda: ascend(folded, cross_entropy, x, (y,), budget=budget, noise=noise),
        "update": lambda: torch.autograd.backward(model(x).sum()),
    }


def measure() -> Json:
    """Median processor seconds of each, after one that is not counted."""
    found: Json = {}
    for network, batch, repeats in SUBJECTS:
        for name, work in works(network, batch).items():
            seconds = []
            for _ in range(repeats + 1):
                began = time.process_time()
                work()
                seconds.append(time.process_time() - began)
            found[f"{network}, batch {batch}, {name}"] = statistics.median(seconds[1:])
    return found


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:]:
        if sys.argv[1] == "kept" and not keep_freed_memory():
            raise SystemExit("this C library cannot, or the environment has chosen")
        print(json.dumps(measure()))
        return
    machine = describe_machine(torch.device("cpu"))
    rounds: dict[str, list[Json]] = {side: [] for side in SIDES}
    for number in range(ROUNDS):
        for side in SIDES[:: 1 if number % 2 else -1]:
            command = [sys.executable, __file__, side]
            rounds[side].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    times = {
        name: [back[name] / kept[name] for back, kept in zip(rounds["given back"], rounds["kept"], strict=True)]
        for name in rounds["kept"][0]
    }
    before = read_json(OUT)["measurements"] if OUT.exists() else []
    others = [each for each in before if each["machine"]["cpu_family_model"] != machine["cpu_family_model"]]
    entry = {"machine": machine, "steps": STEPS, "seconds": rounds, "times_faster": times}
    write_json(OUT, {"schema": 1, "measurements": [*others, entry]})
    for name, ratios in times.items():
        print(f"{name:<28} {statistics.median(ratios):.2f}x  ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
