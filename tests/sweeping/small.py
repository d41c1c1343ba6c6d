"""Sweeps that take moments: digits, a tiny network, few images."""

from pathlib import Path

from advdpnp.sweeping.plan import make_plan
from advdpnp.sweeping.sweep_file import read_sweep
from advdpnp.sweeping.tasks import SweepTask

HEAD = """
data: digits
backbone: tiny
set: {recipe.epochs: 1, recipe.train_images: 64, recipe.holdout: 40, recipe.attack.steps: 1}
"""


def sweep_file(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(HEAD + text)
    return path


def plan_of(folder: Path, text: str, runs: str = "runs") -> tuple[SweepTask, ...]:
    """The tasks of a file, whose runs are in folder/<runs>."""
    return make_plan(read_sweep(sweep_file(folder, text)), folder / runs)
