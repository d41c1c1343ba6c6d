"""The demo: four defenses on the digits inside scikit-learn, attacked, measured and reported."""

import multiprocessing
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from advdpnp.experiments import Experiment, experiment
from advdpnp.report import write_report
from advdpnp.runs import Run

TITLE = "Adv-DPNP beside standard and adversarial training, on 1,797 real handwritten digits"
WORKERS = 2

# With two coordinates instead of 512 the mean over coordinates makes the alignment 256 times as strong, and a net this
# small cannot follow it to radius 40: a smaller circle, a weaker pull and a stronger repulsion.
_PLANE = ["defense.alpha=8", "defense.lambda_dpp=0.05", "defense.lambda_dnp=0.3"]


def demo_experiments(seed: int = 0) -> list[Experiment]:
    """Four defenses with 64-d embeddings, and AT and Adv-DPNP with 2-d ones for the paper's Figure 2 in small."""
    names = ("st", "at", "trades", "adv-dpnp")
    wide = [experiment(f"digits/tiny/{name}", seed=seed, settings=["recipe.epochs=20"]) for name in names]
    plane = [("at", []), ("adv-dpnp", _PLANE)]
    flat = [experiment(f"digits/tiny-2d/{name}", seed=seed, settings=settings) for name, settings in plane]
    return wide + flat


def _train_and_attack(wanted: Experiment, runs: Path) -> Path:
    import torch

    from advdpnp import api

    # Networks this small run fastest on one thread each.
    torch.set_num_threads(1)
    folder = wanted.folder(runs)
    if folder.exists():
        # The run of an earlier demo is replaced; one with another configuration is refused.
        Run(folder).create_or_verify(wanted.config())
        shutil.rmtree(folder)
    run = api.train(wanted, runs, device="cpu")
    for suite in ("demo", "curve"):
        api.evaluate(run.folder, suite, device="cpu")
    api.illustrate(run.folder, device="cpu")
    return run.folder


def run_demo(out: Path, runs: Path, seed: int = 0) -> Path:
    """Train, attack and report; returns the page. Takes under two minutes on two cores."""
    experiments = demo_experiments(seed)
    print(
        f"training and attacking {len(experiments)} small networks, about 2 minutes on 2 cores",
        file=sys.stderr,
        flush=True,
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        # The slowest first, so that none of them runs alone at the end.
        jobs = {wanted.folder(runs): pool.submit(_train_and_attack, wanted, runs) for wanted in reversed(experiments)}
        for done, (folder, job) in enumerate(jobs.items(), start=1):
            job.result()
            print(f"[{done}/{len(jobs)}] {folder}", file=sys.stderr, flush=True)
    return write_report([wanted.folder(runs) for wanted in experiments], out, TITLE)
