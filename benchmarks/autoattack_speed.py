"""Standard AutoAttack here and with the official code: the same network, images and budgets on one core of a CPU.

    PYTHONPATH=tests OMP_NUM_THREADS=1 python benchmarks/autoattack_speed.py --core 1

The network is resnet8 of the tests, adversarially trained on CIFAR-10, whose files are under $ADVDPNP_DATA; the radius
is 8/255 in linf. The official code is the package pyautoattack 0.2.0 with its default batch. Every run has a process of
its own, and the sides take turns. Processor time instead of the clock, so that other work on the machine disturbs less.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from advdpnp import data
from advdpnp.attacks import suite
from advdpnp.attacks.autoattack import AutoAttack
from advdpnp.bench.ceilings import describe_machine
from advdpnp.callbacks import Silent
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.evaluation.single_pass import SearchPrecision
from advdpnp.metrics import pack, unpack
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Json, write_json
from attacks import robust

OUT = Path(__file__).parent / "results" / "autoattack-speed.json"
EPS = robust.EPS["cifar10"]["linf"]
ATTACKS = tuple(search.name for search in AutoAttack(eps=EPS).attacks_to_run)
# Batch of the official code, its default.
BATCH = 250


class Clock(Silent):
    """Processor time of each attack: of ours from one search to the next, of the official ones from call to return."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(ATTACKS, 0.0)
        self._running, self._since = "", 0.0

    def switch(self, name: str) -> None:
        """What ran has ended; `name` runs now, or nothing."""
        now = time.process_time()
        if self._running:
            self.seconds[self._running] += now - self._since
        self._running, self._since = name, now

    def on_search(self, name: str, images: int, steps: int) -> None:
        self.switch(name.split()[-1])

    def around(self, name: str, attack: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*images: Any, **options: Any) -> Any:
            self.switch(name)
            found = attack(*images, **options)
            self.switch("")
            return found

        return timed


def ours(model: Classifier, images: data.Images, clock: Clock, precision: SearchPrecision) -> str:
    """Packed verdicts."""
    wanted = Evaluation(suite=suite("autoattack", EPS), n=len(images), facts={}, search_precision=precision)
    found: str = evaluate(model, images, wanted, clock)["attacks"][0]["verdicts"]
    clock.switch("")
    return found


def official(model: Classifier, images: data.Images, clock: Clock) -> str:
    from pyautoattack import AutoAttack as Official

    whole = Official(model, eps=EPS, norm="Linf", seed=0, version="standard")
    for name, part in zip(ATTACKS, (whole.apgd, whole.apgd_targeted, whole.fab, whole.square), strict=True):
        part.perturb = clock.around(name, part.perturb)
    x, y = images.batch(torch.arange(len(images)))
    x_adv, _ = whole.run_standard_evaluation(x, y, batch_size=BATCH)
    with torch.no_grad():
        return pack(model(x_adv).argmax(dim=1) == y)


SIDES: dict[str, Callable[[Classifier, data.Images, Clock], str]] = {
    "official": official,
    "ours": lambda *subject: ours(*subject, "fp32"),
    "ours, bf16 search": lambda *subject: ours(*subject, "bf16"),
}


def measured(side: str, count: int) -> Json:
    """One run, in the process that calls."""
    torch.set_num_threads(1)
    model = robust.network("cifar10/resnet8/at", "resnet8-at-cifar10")
    images, clock = data.load("cifar10", "test").select(torch.arange(count)), Clock()
    processor, wall = time.process_time(), time.perf_counter()
    verdicts = SIDES[side](model, images, clock)
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    return {
        "seconds": round(processor, 2),
        "wall_seconds": round(wall, 2),
        "attacks": {name: round(seconds, 2) for name, seconds in clock.seconds.items()},
        "robust": int(unpack(verdicts, count).sum()),
        "verdicts": verdicts,
        "load_average": round(os.getloadavg()[0], 2),
    }


def summary(runs: dict[str, list[Json]], count: int) -> Json:
    """Medians of each side, and how they compare with the official ones."""
    rows = {}
    reference = unpack(runs["official"][0]["verdicts"], count)
    for side, taken in runs.items():
        seconds = statistics.median(run["seconds"] for run in taken)
        rows[side] = {
            "seconds": seconds,
            "attacks": {name: statistics.median(run["attacks"][name] for run in taken) for name in ATTACKS},
            "times_official": round(statistics.median(run["seconds"] for run in runs["official"]) / seconds, 3),
            "robust_accuracy": taken[0]["robust"] / count,
            "differing_images": int((unpack(taken[0]["verdicts"], count) != reference).sum()),
        }
    return rows


def table(rows: Json) -> str:
    lines = [f"{'':<18} {'seconds':>8} " + " ".join(f"{name:>8}" for name in ATTACKS) + "   ratio   robust"]
    for side, row in rows.items():
        parts = " ".join(f"{row['attacks'][name]:>8.1f}" for name in ATTACKS)
        lines.append(
            f"{side:<18} {row['seconds']:>8.1f} {parts} {row['times_official']:>6.2f}x {row['robust_accuracy']:>8.2%}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=200, help="the first ones of the test set")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side")
    parser.add_argument("--core", type=int, help="number of the core to stay on")
    parser.add_argument("--out", type=Path, default=OUT, help="file of the result")
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    torch.set_num_threads(1)
    machine = describe_machine(torch.device("cpu")) | {"pyautoattack": version("pyautoattack")}
    protocol = {"model": "resnet8", "images": chosen.images, "repeats": chosen.repeats, "batch_official": BATCH}
    runs: dict[str, list[Json]] = {side: [] for side in SIDES}
    for _ in range(chosen.repeats):
        for side in SIDES:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                runs[side].append(pool.apply(measured, (side, chosen.images)))
            print(f"{side}: {runs[side][-1]['seconds']:.0f} s", flush=True)
    rows = summary(runs, chosen.images)
    write_json(chosen.out, {"schema": 1, "machine": machine, "protocol": protocol, "summary": rows, "runs": runs})
    print(table(rows))


if __name__ == "__main__":
    main()
