"""Variants of the attack that are not in the package, against the folded copy.

Writes benchmarks/results/tried-<processor>.json:

OMP_NUM_THREADS=1 python benchmarks/tried.py
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advdpnp.allocator import keep_freed_memory
from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.bench.ceilings import describe_machine, processor_name
from advdpnp.bench.variants import make_bench_model
from advdpnp.models.folding import fold_batchnorm
from advdpnp.models.packed_convolution import pack_convolutions
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json, write_json
from advdpnp.threat import ThreatModel

NETWORKS = (("resnet8", 64), ("resnet8", 128), ("resnet18", 32))
STEPS, REPEATS = 5, 5
BUDGET = Budget(ThreatModel("linf", 8 / 255), STEPS, 2 / 255, "uniform")


@dataclass(frozen=True)
class Side:
    """One way to attack a batch.

    Args:
        attack: one iteration after another.
        network: what it asks.
        x: images, in the layout that the network wants.
        part: images that are attacked at once.
    """

    attack: Callable[..., Tensor]
    network: torch.nn.Module
    x: Tensor
    part: int

    def __call__(self, y: Tensor) -> Tensor:
        """The attacked images."""
        parts = [
            self.attack(
                self.network, cross_entropy, self.x[index], (y[index],), budget=BUDGET, noise=IndexNoise(0, index)
            )
            for index in torch.arange(len(self.x)).split(self.part)
        ]
        return torch.cat(parts)


def sides(model: torch.nn.Module, x: Tensor) -> dict[str, Side]:
    """What is compared; "folded" is what the package does."""
    batch, flat = len(x), x.contiguous()

    def compiled(size: int) -> CompiledAscent:
        return CompiledAscent((size, *x.shape[1:]))

    folded, unpacked = fold_batchnorm(model), fold_batchnorm(model)
    pack_convolutions(folded)
    nchw = fold_batchnorm(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return {
        "folded": Side(ascend, folded, x, batch),
        "folded, NCHW": Side(ascend, nchw, flat, batch),
        **{f"folded, parts of {size}": Side(ascend, folded, x, size) for size in (64, 32, 16) if size < batch},
        "folded, weights packed in each call": Side(ascend, unpacked, x, batch),
        "compiled": Side(compiled(batch), unpacked, x, batch),
        "compiled, NCHW": Side(compiled(batch), nchw, flat, batch),
        "compiled, parts of 32": Side(compiled(32), unpacked, x, 32),
    }


def measured(network: str, batch: int) -> Json:
    """Seconds of each side, taken in turn, and whether its images are those of the first."""
    subject = make_bench_model(network, torch.device("cpu"), batch, STEPS)
    variants, y = sides(subject.model, subject.x), subject.images.labels
    images = {name: side(y) for name, side in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(REPEATS):
        for name, side in variants.items():
            began = time.process_time()
            side(y)
            seconds[name].append(time.process_time() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        name: {
            "seconds": [round(value, 4) for value in seconds[name]],
            "times_folded": round(medians["folded"] / medians[name], 3),
            "differing_pixels": (images[name] != images["folded"]).double().mean().item(),
        }
        for name in variants
    }


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    machine = describe_machine(torch.device("cpu"))
    out = Path(__file__).parent / "results" / f"tried-{processor_name(machine)}.json"
    found: Json = {"schema": 1, "machine": machine, "protocol": {"steps": STEPS, "repeats": REPEATS}, "networks": {}}
    for network, batch in NETWORKS:
        rows = found["networks"][f"{network}, batch {batch}"] = measured(network, batch)
        write_json(out, found)
        print(network, batch)
        for name, row in rows.items():
            print(
                f"  {name:<36} {row['times_folded']:.2f}x  {row['differing_pixels']:.2%} of pixels differ", flush=True
            )


if __name__ == "__main__":
    main()
