"""The attack of training on parts of a batch, against the whole batch: where the rule of `advdpnp.attacks.parts` lies.

OMP_NUM_THREADS=1 python benchmarks/parts.py

adds this processor's measurement to benchmarks/results/parts.json.
"""

import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from advdpnp.attacks.parts import AscentInParts, rows_in_cache
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.bench.ceilings import describe_machine
from advdpnp.bench.variants import make_bench_model
from advdpnp.models.folding import fold_batchnorm
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json, read_json, write_json
from advdpnp.threat import ThreatModel

OUT = Path(__file__).parent / "results" / "parts.json"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Network, batch, rounds: a large network is there to see that it loses.
SUBJECTS = (("tiny", 128, 11), ("resnet8", 128, 11), ("resnet8", 64, 11), ("resnet18", 64, 3))
ROWS, STEPS = (64, 32, 16), 3


def measure(network: str, batch: int, rounds: int, precision: str) -> Json:
    """Medians of each number of rows, all taken in turn, forth and back."""
    subject = make_bench_model(network, torch.device("cpu"), batch, STEPS)
    folded = fold_batchnorm(subject.model, DTYPES[precision])
    x, y, noise = subject.x, subject.images.labels, IndexNoise(0, torch.arange(batch))
    budget = Budget(ThreatModel("linf", 8 / 255), STEPS, 2 / 255, "uniform")
    ways = {batch: ascend} | {rows: AscentInParts(rows) for rows in ROWS if rows < batch}

    def run(rows: int) -> Tensor:
        return ways[rows](folded, cross_entropy, x, (y,), budget=budget, noise=noise)

    images = {rows: run(rows) for rows in ways}
    seconds: dict[int, list[float]] = {rows: [] for rows in ways}
    for number in range(rounds):
        for rows in list(ways)[:: 1 if number % 2 else -1]:
            began = time.process_time()
            run(rows)
            seconds[rows].append(time.process_time() - began)
    whole = seconds[batch]
    return {
        "network": network,
        "batch": batch,
        "precision": precision,
        "rule": rows_in_cache(folded, tuple(x.shape[1:])),
        "rows": {
            str(rows): {
                "seconds": statistics.median(seconds[rows]),
                "times_whole": statistics.median(w / s for w, s in zip(whole, seconds[rows], strict=True)),
                "differing_pixels": (images[rows] != images[batch]).double().mean().item(),
            }
            for rows in ways
        },
    }


def main() -> None:
    torch.set_num_threads(1)
    machine = describe_machine(torch.device("cpu"))
    found = [measure(*subject, precision) for subject in SUBJECTS for precision in DTYPES]
    before = read_json(OUT)["measurements"] if OUT.exists() else []
    others = [each for each in before if each["machine"]["cpu_family_model"] != machine["cpu_family_model"]]
    write_json(OUT, {"schema": 1, "steps": STEPS, "measurements": [*others, {"machine": machine, "found": found}]})
    for row in found:
        line = ", ".join(f"{rows}: {each['times_whole']:.2f}x" for rows, each in row["rows"].items())
        print(f"{row['network']:<9} {row['batch']:>4} {row['precision']}  {line}  (rule: {row['rule']})")


if __name__ == "__main__":
    main()
