"""Runs that trained for a moment, and a folder of results that were written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp import api
from advdpnp.experiments import experiment, from_config
from advdpnp.exporting import ExportedModel, PaperReference
from advdpnp.report.read import read_run
from advdpnp.runs import Run, write_json
from report.conftest import attack, evaluation

QUICK = ("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=40", "recipe.attack.steps=1")


def stirred(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Eval mode, with BatchNorm statistics and affine maps that are not those of the start."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(0.2 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
            module.weight.data.copy_(0.5 + torch.rand(module.num_features, generator=generator))
            module.bias.data.copy_(0.2 * torch.randn(module.num_features, generator=generator))
            module.num_batches_tracked.fill_(3)
    return model.eval()


def make_run(folder: Path, name: str, *settings: str) -> Run:
    """A run folder whose network was not trained but stirred."""
    wanted = experiment(name, settings=settings)
    run = Run(folder)
    run.create_or_verify(wanted.config())
    run.write_weights("last", stirred(wanted.build()).state_dict(), epoch=1)
    return run


def make_exported(run: Run, reference: PaperReference | None = None, license: str = "MIT") -> ExportedModel:
    return ExportedModel(
        model=api.load(run.folder, device="cpu"),
        experiment=from_config(run.config()),
        stored=read_run(run.folder),
        weights=run.weights_path("last").read_bytes(),
        checkpoint="last",
        epoch=1,
        license=license,
        reference=reference or PaperReference(),
    )


def store_result(
    run: Run, suite: str, data: str, n: int, rows: list[Any], epoch: int = 1, path: str = "", **changes: Any
) -> None:
    """A result of the run's weights; rows are (name, eps, steps, step size, accuracy)."""
    attacks = [attack(*described, n) for described in rows]
    result = evaluation(suite, data, n, 0.825, attacks) | {"epoch": epoch} | changes
    write_json(run.eval_path(f"{path or suite}.json"), json.loads(json.dumps(result)))


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run on the embedded digits, evaluated on 50 images; to be read only."""
    wanted = experiment("digits/tiny/adv-dpnp", settings=QUICK)
    run = api.train(wanted, tmp_path_factory.mktemp("runs"), device="cpu")
    api.evaluate(run.folder, "quick", limit=50, device="cpu")
    return run.folder
