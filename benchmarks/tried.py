"""Variants of the attack that are not in the package, against the folded copy.

Writes benchmarks/results/cpu-tried-resnet8.json:

OMP_NUM_THREADS=1 python benchmarks/tried.py
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.bench.ceilings import describe_machine
from advdpnp.bench.variants import make_bench_model
from advdpnp.models.folding import fold_batchnorm
from advdpnp.noise import IndexNoise
from advdpnp.runs import write_json
from advdpnp.threat import ThreatModel

BATCH, STEPS, REPEATS = 128, 5, 5
OUT = Path(__file__).parent / "results" / "cpu-tried-resnet8.json"
BUDGET = Budget(ThreatModel("linf", 8 / 255), STEPS, 2 / 255, "uniform")


def in_parts(attack: Callable[..., Tensor], network: torch.nn.Module, x: Tensor, y: Tensor, size: int) -> Tensor:
    """The attack on parts of the batch, one after another."""
    parts = [
        attack(network, cross_entropy, x[index], (y[index],), budget=BUDGET, noise=IndexNoise(0, index))
        for index in torch.arange(len(x)).split(size)
    ]
    return torch.cat(parts)


def main() -> None:
    torch.set_num_threads(1)
    subject = make_bench_model("resnet8", torch.device("cpu"), BATCH, STEPS)
    x, y = subject.x, subject.images.labels
    folded, nchw = (
        fold_batchnorm(subject.model),
        fold_batchnorm(subject.model).to(memory_format=torch.contiguous_format),
    )
    flat = x.contiguous()
    compiled, compiled_32, compiled_nchw = (CompiledAscent((size, *x.shape[1:])) for size in (BATCH, 32, BATCH))
    variants: dict[str, Callable[[], Tensor]] = {
        "folded": lambda: in_parts(ascend, folded, x, y, BATCH),
        "folded, NCHW": lambda: in_parts(ascend, nchw, flat, y, BATCH),
        "folded, parts of 64": lambda: in_parts(ascend, folded, x, y, 64),
        "folded, parts of 32": lambda: in_parts(ascend, folded, x, y, 32),
        "folded, parts of 16": lambda: in_parts(ascend, folded, x, y, 16),
        "compiled": lambda: in_parts(compiled, folded, x, y, BATCH),
        "compiled, NCHW": lambda: in_parts(compiled_nchw, nchw, flat, y, BATCH),
        "compiled, parts of 32": lambda: in_parts(compiled_32, folded, x, y, 32),
    }
    results = {name: run() for name, run in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(REPEATS):
        for name, run in variants.items():
            began = time.process_time()
            run()
            seconds[name].append(time.process_time() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = {
        name: {
            "seconds": seconds[name],
            "times_folded": medians["folded"] / medians[name],
            "differing_pixels": (results[name] != results["folded"]).double().mean().item(),
        }
        for name in variants
    }
    protocol = {"model": "resnet8", "batch": BATCH, "steps": STEPS, "repeats": REPEATS}
    write_json(
        OUT, {"schema": 1, "machine": describe_machine(torch.device("cpu")), "protocol": protocol, "variants": rows}
    )
    for name, row in rows.items():
        print(f"{name:<24} {row['times_folded']:.2f}x  {row['differing_pixels']:.2%} of pixels differ")


if __name__ == "__main__":
    main()
