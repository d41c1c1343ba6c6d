"""The command line within the test's own process."""

import sys
from pathlib import Path

import pytest

from advdpnp import cli

QUICK = ["--set", "recipe.epochs=1", "--set", "recipe.train_images=64", "--set", "recipe.holdout=40",
         "--set", "recipe.attack.steps=1", "--threads", "1"]  # fmt: skip


def call(*arguments: str) -> int:
    """Run `advdpnp` with these arguments; its exit status."""
    sys.argv = ["advdpnp", *arguments]
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def train_quickly(out: Path) -> Path:
    """Train Adv-DPNP on digits for one short epoch; its folder."""
    assert call("train", "digits/tiny/adv-dpnp", "--out", str(out), *QUICK) == 0
    return out / "digits/tiny/adv-dpnp/seed-0"
