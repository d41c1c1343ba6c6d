"""A run on the embedded digits that is trained once, and images of its test set as files."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from advdpnp import api, data
from advdpnp.experiments import experiment
from advdpnp.runs import Run

SETTINGS = ("recipe.epochs=2", "recipe.train_images=300", "recipe.attack.steps=1")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run; tests do not change it."""
    return api.train(experiment("digits/tiny/adv-dpnp", settings=SETTINGS), tmp_path_factory.mktemp("runs")).folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Run:
    """A copy of the run that a test may change."""
    for path in finished.rglob("*"):
        if path.is_file() and "eval" not in path.parts:
            copy = tmp_path / "run" / path.relative_to(finished)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return Run(tmp_path / "run")


@pytest.fixture(scope="session")
def digits() -> data.Images:
    """The test set."""
    return data.load(data.spec("digits"), "test")


@pytest.fixture
def folder(digits: data.Images, tmp_path: Path) -> Path:
    """Six images of the test set as PNG files, in folders."""
    for row in range(6):
        path = tmp_path / "images" / f"part {row % 2}" / f"ziffer-{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = (digits.pixels[row, 0] * (255 / 16)).round().to(torch.uint8)
        Image.fromarray(grey.numpy()).save(path)
    return tmp_path / "images"
