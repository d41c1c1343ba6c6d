"""A run that is trained once, and the command line in this process."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from advdpnp import api, cli
from advdpnp.experiments import experiment


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of two epochs, to be copied."""
    settings = ("recipe.epochs=2", "recipe.train_images=320", "recipe.holdout=40", "recipe.attack.steps=1")
    return api.train(experiment("digits/tiny/at", settings=settings), tmp_path_factory.mktemp("runs")).folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "digits/tiny/at/seed-0"))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command; its status, its output and the lines of its error stream."""

    def started(*arguments: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["advdpnp", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err.splitlines()

    return started
