"""Statistics of stored weights, measured anew: a training with an average of one network gives the same."""

import shutil
from pathlib import Path

import pytest
import torch

import measure_statistics as script
from advdpnp.api import train
from advdpnp.runs import Run, read_json
from training.small import small_experiment

SETTINGS = ("recipe.averaging.kind=ema", "recipe.averaging.decay=0.8")


def test_statistics_measured_anew_are_those_of_the_training(tmp_path: Path) -> None:
    run = train(small_experiment("adv-dpnp", *SETTINGS), tmp_path, device="cpu")
    weights, epoch = run.read_weights("last")
    spoilt = {name: torch.full_like(w, 3.0) if "running" in name else w for name, w in weights.items()}
    run.write_weights("last", spoilt, epoch)
    made = script.remeasured(run, tmp_path / "out", "statistics")
    assert made.folder == tmp_path / "out" / "digits" / "tiny" / "adv-dpnp+statistics" / "seed-0"
    found, _ = made.read_weights("last")
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    assert made.epochs() == run.epochs() and made.config()["tag"] == "statistics"
    assert read_json(made.folder / "environment.json") == read_json(run.folder / "environment.json")
    assert read_json(made.folder / "statistics.json")["weights_of"] == "digits/tiny/adv-dpnp/seed-0"
    with pytest.raises(ValueError, match="is there already"):
        script.remeasured(run, tmp_path / "out", "statistics")


def test_without_weights_nothing_is_written(tmp_path: Path) -> None:
    run = train(small_experiment("at", *SETTINGS), tmp_path, device="cpu")
    shutil.rmtree(run.folder / "checkpoints")
    with pytest.raises(FileNotFoundError):
        script.remeasured(Run(run.folder), tmp_path / "out", "statistics")
    assert not (tmp_path / "out").exists()
