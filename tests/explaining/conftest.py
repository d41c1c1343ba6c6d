"""A run on the embedded digits that is trained once, and its scores of test images."""

from pathlib import Path
from typing import NamedTuple

import pytest

from advdpnp import api
from advdpnp.experiments import experiment
from advdpnp.explaining import Explanations
from explaining.networks import QUICK

SETTINGS = ("recipe.epochs=2", "recipe.train_images=300", "recipe.attack.steps=1")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run; tests do not change it."""
    return api.train(experiment("digits/tiny/adv-dpnp", settings=SETTINGS), tmp_path_factory.mktemp("runs")).folder


@pytest.fixture(scope="session")
def scored(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a copy of which `ood` has stored the scores of 200 test images."""
    folder = tmp_path_factory.mktemp("scored")
    for path in bare.rglob("*"):
        if path.is_file() and "eval" not in path.parts:
            copy = folder / path.relative_to(bare)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    api.ood(folder, ["uniform-noise", "gaussian-noise"], attack="fgsm", limit=200)
    return folder


class Told(NamedTuple):
    """An explanation, and the folder of its files."""

    found: Explanations
    folder: Path


@pytest.fixture(scope="session")
def told(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Five test images of that run, explained."""
    folder = tmp_path_factory.mktemp("told")
    return Told(api.explain(scored, ["test:0-3", "test:17"], attack=QUICK, neighbors=2, out=folder), folder)
