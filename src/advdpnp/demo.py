"""The demo: four defenses on the digits inside scikit-learn, attacked, measured and reported."""

import shutil
import sys
from pathlib import Path

from advdpnp import api
from advdpnp.experiments import Experiment, experiment
from advdpnp.report import write_report

TITLE = "Adv-DPNP beside standard and adversarial training, on 1,797 real handwritten digits"


def demo_experiments() -> list[Experiment]:
    """Four defenses with 64-d embeddings, and AT and Adv-DPNP with 2-d ones for the paper's Figure 2 in small."""
    wide = [experiment(f"digits/tiny/{name}") for name in ("st", "at", "trades", "adv-dpnp")]
    flat = [experiment(f"digits/tiny-2d/{name}") for name in ("at", "adv-dpnp")]
    return wide + flat


def run_demo(out: Path, runs: Path) -> Path:
    """Train, attack and report; returns the page. Takes about two minutes on two cores."""
    experiments = demo_experiments()
    print(f"{len(experiments)} small networks to train and attack: about 2 minutes on 2 cores", file=sys.stderr)
    folders = []
    for number, wanted in enumerate(experiments, start=1):
        name = f"{wanted.backbone}/{wanted.defense.name}"
        print(f"[{number}/{len(experiments)}] {name}: training, then attacks", file=sys.stderr, flush=True)
        # The demo's own folder: what an earlier demo left there is its to replace.
        shutil.rmtree(wanted.folder(runs), ignore_errors=True)
        run = api.train(wanted, runs)
        for suite in ("demo", "curve"):
            api.evaluate(run.folder, suite)
        api.illustrate(run.folder)
        folders.append(run.folder)
    return write_report(folders, out, TITLE)
