"""Averages of weights, against their definitions and torch's own."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from advdpnp.api import load
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.defenses import DEFENSES
from advdpnp.training import fit
from advdpnp.training import step as training_step
from advdpnp.training.averaging import WeightAverage, batch_norms, measure_statistics
from advdpnp.training.step import Training, statistics_batches
from advdpnp.training.validation import validate
from reference import averaging as reference
from training.small import StopAt, created, small_task, trained

EMA = ("recipe.averaging.kind=ema", "recipe.averaging.decay=0.8")
SWA = ("recipe.averaging.kind=swa", "recipe.epochs=3")


class History(Silent):
    """Keeps the weights of the training network after every step."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self.steps = model, []

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        self.steps.append({name: value.clone() for name, value in self._model.state_dict().items()})


def followed(defense: str, run: Any, *settings: str) -> tuple[History, dict[str, torch.Tensor]]:
    task = small_task(defense, *settings)
    history = History(task.model)
    fit(task, run, history, resume=False, checkpoint_seconds=1e9)
    return history, run.read_weights("last")[0]


@pytest.mark.parametrize("start, skipped", [("0", 0), ("0.5", 3)])
def test_ema_is_the_weighted_sum_of_every_step_from_its_start(start: str, skipped: int, tmp_path: Path) -> None:
    settings = (*EMA, f"recipe.averaging.start={start}")
    history, last = followed("at", created(tmp_path, "at", *settings), *settings)
    for name, _ in small_task("at").model.named_parameters():
        wanted = reference.exponential([weights[name] for weights in history.steps[skipped:]], 0.8)
        torch.testing.assert_close(last[name].double(), wanted, rtol=1e-5, atol=1e-6, msg=name)
    assert last["backbone.bn1.num_batches_tracked"] == 3


def test_ema_is_torchs_averaged_model(tmp_path: Path) -> None:
    task = small_task("at", *EMA)
    torchs: list[AveragedModel] = []

    class Torchs(Silent):
        def on_step(self, *_: int) -> None:
            if not torchs:
                torchs.append(AveragedModel(task.model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True))
            torchs[0].update_parameters(task.model)

    run = created(tmp_path, "at", *EMA)
    fit(task, run, Torchs(), resume=False)
    last = run.read_weights("last")[0]
    for name, value in torchs[0].module.named_parameters():
        torch.testing.assert_close(last[name], value.detach(), rtol=1e-5, atol=1e-6, msg=name)


def statistics_by_hand(model: nn.Module, batches: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Mean and unbiased variance of what comes into each BatchNorm layer, in float64, and their means over batches."""
    model = copy.deepcopy(model).double().train()
    seen: dict[str, list[torch.Tensor]] = {}

    def listen(path: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            channels = inputs[0].transpose(0, 1).flatten(1)
            for name, value in (("running_mean", channels.mean(1)), ("running_var", channels.var(1))):
                seen.setdefault(f"{path}.{name}", []).append(value)

        return hook

    for path, layer in batch_norms(model).items():
        layer.register_forward_pre_hook(listen(path))
    with torch.no_grad():
        for batch in batches:
            model(batch.double())
    return {name: torch.stack(values).mean(dim=0) for name, values in seen.items()}


@pytest.mark.parametrize("settings", [EMA, SWA])
@pytest.mark.parametrize("defense", ["at", "adv-dpnp"])
def test_statistics_of_an_average_are_those_of_its_weights(
    settings: tuple[str, ...], defense: str, tmp_path: Path
) -> None:
    # A rate at which the weights move about, as those of a real training do: their mean is another network.
    settings = (*settings, "recipe.lr=0.5", "recipe.epochs=3")
    task = small_task(defense, *settings)
    last = trained(tmp_path, task, created(tmp_path, defense, *settings))
    task.model.load_state_dict(last)
    batches = list(statistics_batches(task, 2))
    assert [len(batch) for batch in batches] == [32, 32, 32]
    wanted = statistics_by_hand(task.model, batches)
    assert len(wanted) == 2 * len(batch_norms(task.model))
    for name, value in wanted.items():
        torch.testing.assert_close(last[name].double(), value, rtol=1e-4, atol=1e-5, msg=name)
    # So eval mode gives what the weights have learnt, on the images that all three batches make up.
    images = torch.cat(batches)
    with torch.no_grad():
        evaluated, by_batch = task.model.eval()(images), task.model.train()(images)
    assert (evaluated - by_batch).norm() < 0.1 * (by_batch - by_batch.mean(dim=0)).norm()


def test_statistics_take_a_bounded_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task("at", *EMA)
    everything = list(statistics_batches(task, 1))
    monkeypatch.setattr(training_step, "STATISTICS_IMAGES", 33)
    some = list(statistics_batches(task, 1))
    assert len(some) == 2 and len(everything) == 3
    assert all(torch.equal(one, other) for one, other in zip(some, everything, strict=False))


def test_a_network_without_batchnorm_sees_no_image() -> None:
    measure_statistics(nn.Linear(2, 2), (pytest.fail("an image was made") for _ in range(1)))


def test_a_state_of_an_earlier_version_goes_on_without_its_averages_of_statistics(tmp_path: Path) -> None:
    settings = (*EMA, "recipe.lr=0.5")
    wanted = trained(tmp_path / "whole", small_task("at", *settings), created(tmp_path / "whole", "at", *settings))
    run = created(tmp_path / "older", "at", *settings)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task("at", *settings), run, StopAt(4), resume=False, checkpoint_seconds=0)
    state = run.read_state()
    assert set(state["average"]["values"]) == {name for name, _ in small_task("at").model.named_parameters()}
    state["average"]["values"]["backbone.bn1.running_mean"] = torch.full((16,), 7.0)
    run.write_state(state)
    found = trained(tmp_path / "older", small_task("at", *settings), run, resume=True)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("defense", ["at", "trades"])
def test_swa_is_the_mean_of_the_epochs_ends_with_statistics_measured_anew(defense: str, tmp_path: Path) -> None:
    settings = (*SWA, "recipe.averaging.start=0.34")
    task = small_task(defense, *settings)
    run = created(tmp_path, defense, *settings)
    history, last = followed(defense, run, *settings)
    ends = [history.steps[step] for step in (5, 8)]
    names = {name for name, _ in task.model.named_parameters()}
    for name in names:
        wanted = reference.equal([weights[name] for weights in ends])
        torch.testing.assert_close(last[name].double(), wanted, rtol=1e-5, atol=1e-7, msg=name)
    assert not torch.allclose(last["backbone.bn1.running_mean"], ends[-1]["backbone.bn1.running_mean"])
    assert last["backbone.bn1.num_batches_tracked"] == 3


def test_measured_statistics_are_torchs_and_the_momentum_is_kept() -> None:
    model = small_task("at").model
    theirs = copy.deepcopy(model)
    batches = list(torch.rand(4, 16, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    measure_statistics(model, batches)
    update_bn(batches, theirs)
    for name, value in theirs.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert {layer.momentum for layer in batch_norms(model).values()} == {0.1}


def test_statistics_of_images_sorted_by_class_are_those_of_all_images() -> None:
    # Twelve gray levels, a class and a batch each: within a batch as stored there is no variance.
    labels = torch.arange(12).repeat_interleave(32) % 10
    grays = torch.arange(12).repeat_interleave(32)[:, None, None, None].expand(-1, 1, 8, 8)
    task = replace(small_task("at", *SWA), train=Images(grays.to(torch.uint8), labels, levels=12))
    batches = list(statistics_batches(task, 0))
    together = torch.cat(batches).double()
    assert torch.equal(together[:, 0, 4, 4].mul(12).round().sort().values, grays[:, 0, 0, 0].double())
    assert all(torch.equal(batch, again) for batch, again in zip(batches, statistics_batches(task, 0), strict=True))
    measure_statistics(task.model, batches)
    backbone = task.model.double().backbone
    seen = torch.nn.functional.conv2d(together, backbone.conv1.weight, padding=1)
    wanted = seen.transpose(0, 1).flatten(1).var(dim=1)
    # The variance within batches of 32 that are drawn at random is that of all on average.
    torch.testing.assert_close(backbone.bn1.running_var, wanted, rtol=0.1, atol=0)


@pytest.mark.parametrize("settings", [EMA, SWA])
@pytest.mark.parametrize("defense", ["dpnp", "adv-dpnp"])
def test_averaged_prototypes_are_back_on_the_sphere(settings: tuple[str, ...], defense: str, tmp_path: Path) -> None:
    run = created(tmp_path, defense, *settings)
    trained(tmp_path, small_task(defense, *settings), run)
    for which in ("last", "best"):
        norms = run.read_weights(which)[0]["head.prototypes"].norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, 40.0), rtol=1e-5, atol=0)


class Helped(nn.Module):
    """A network with a frozen helper that has BatchNorm of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.helper = copy.deepcopy(model).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


@pytest.mark.parametrize("settings", [EMA, SWA])
def test_a_helper_is_shared_and_not_averaged(settings: tuple[str, ...]) -> None:
    training = Training(small_task("at", *settings))
    model = Helped(training.task.model)
    average = WeightAverage(model, training.task.defense, training.task.recipe.averaging, 1)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in model.helper.state_dict().items()}
    for epoch in range(2):
        with torch.no_grad():
            for p in model.model.parameters():
                p.add_(0.1)
        average.after_step(epoch)
        average.after_epoch(epoch)
    network = average.network(lambda: [torch.rand(8, 1, 8, 8)])
    for name, value in model.helper.state_dict().items():
        assert torch.equal(before[name], value)
        assert value.data_ptr() == network.helper.state_dict()[name].data_ptr()
    assert not any("helper" in name for name in average.state()["values"])
    own, averaged = model.model.state_dict(), network.model.state_dict()
    assert not torch.equal(own["head.linear.weight"], averaged["head.linear.weight"])


@pytest.mark.parametrize("settings", [EMA, SWA, ("recipe.averaging.kind=none",)])
def test_the_training_weights_do_not_feel_the_average(settings: tuple[str, ...], tmp_path: Path) -> None:
    epochs = "recipe.epochs=3"
    plain, _ = followed("at", created(tmp_path / "plain", "at", epochs), epochs)
    beside, _ = followed("at", created(tmp_path / "beside", "at", *settings, epochs), *settings, epochs)
    assert all(torch.equal(plain.steps[-1][name], beside.steps[-1][name]) for name in plain.steps[-1])


@pytest.mark.parametrize("settings", [EMA, SWA])
def test_what_is_loaded_validated_and_called_best_is_the_average(settings: tuple[str, ...], tmp_path: Path) -> None:
    run = created(tmp_path, "at", *settings)
    task = small_task("at", *settings)
    trained(tmp_path, task, run)
    model = load(run.folder, "best", "cpu")
    line = run.epochs()[run.read_weights("best")[1] - 1]
    assert task.holdout is not None
    assert validate(model, task.holdout, task.recipe.attack, task.batch_size).accuracy == line["holdout"]
    assert run.config()["recipe"]["averaging"]["kind"] == task.recipe.averaging.kind


def test_without_a_holdout_the_last_weights_are_the_average_all_the_same(tmp_path: Path) -> None:
    settings = (*SWA, "recipe.holdout=0")
    history, last = followed("st", created(tmp_path, "st", *settings), *settings)
    wanted = reference.equal([history.steps[step]["head.linear.weight"] for step in (2, 5, 8)])
    torch.testing.assert_close(last["head.linear.weight"].double(), wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("defense", DEFENSES)
def test_every_defense_trains_with_an_average(defense: str, tmp_path: Path) -> None:
    run = created(tmp_path, defense, *EMA)
    last = trained(tmp_path, small_task(defense, *EMA), run)
    assert all(value.isfinite().all() for value in last.values() if value.is_floating_point())
