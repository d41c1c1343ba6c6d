"""The last batch of an epoch: never one image alone, whose variance BatchNorm cannot take where a map is one pixel."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advdpnp import api, cuda_graphs
from advdpnp.callbacks import Silent
from advdpnp.experiments import experiment
from advdpnp.models.classifier import Backbone
from advdpnp.training import Task, crafting, fit, step
from advdpnp.training.step import Training
from training.small import StopAt, created, small_task, trained, without_times

# Two batches of 32 and one image; the defaults of `small_task` but for the count.
ONE_LEFT = ("recipe.train_images=65",)
ENGINES = ("eager", "folded", "compiled", "graph", "step")


class OnePixel(Backbone):
    """Ends in a map of one pixel, as a ResNet-18 does on images of 8 x 8."""

    features = 8

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features


def task(defense: str, *settings: str) -> Task:
    usual = small_task(defense, *ONE_LEFT, *settings)
    torch.manual_seed(1)
    return replace(usual, model=usual.defense.build(OnePixel(), 10))


@pytest.mark.parametrize(
    ("images", "batch", "sizes"),
    [
        (64, 32, [32, 32]),
        (65, 32, [32, 33]),
        (66, 32, [32, 32, 2]),
        (129, 128, [129]),
        (33, 32, [33]),
        (20, 32, [20]),
        (20, 1, [1] * 20),
        (21, 2, [2] * 9 + [3]),
    ],
)
def test_one_image_left_over_joins_the_batch_before_it(images: int, batch: int, sizes: list[int]) -> None:
    few = small_task("st", f"recipe.train_images={images}", f"recipe.batch_size={batch}")
    order = torch.randperm(images, generator=torch.Generator().manual_seed(0))
    batches = [few.batch(order, step) for step in range(few.steps_per_epoch)]
    assert [len(index) for index in batches] == sizes
    assert torch.equal(torch.cat(batches), order)
    assert [len(x) for x in step.statistics_batches(few, 0)] == sizes


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("defense", ["st", "adv-dpnp"])
def test_every_engine_trains_on_it_and_resumes_bit_by_bit(
    defense: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (step, crafting):
        monkeypatch.setattr(module, "cuda_graph", cuda_graphs.again)
    monkeypatch.setattr(step, "check_engine", lambda recipe, device: None)
    monkeypatch.setattr(torch, "compile", lambda *given, **_: given[0] if given else lambda function: function)
    setting = f"recipe.engine={engine}"
    whole, broken = (created(tmp_path / name, defense, *ONE_LEFT, setting) for name in ("whole", "broken"))
    expected = trained(tmp_path, task(defense, setting), whole)
    with pytest.raises(KeyboardInterrupt):
        fit(task(defense, setting), broken, StopAt(1), resume=False, checkpoint_seconds=0)
    resumed = trained(tmp_path, task(defense, setting), broken, resume=True)
    assert [line["steps"] for line in whole.epochs()] == [2, 2]
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert without_times(whole.epochs()) == without_times(broken.epochs())


@pytest.mark.parametrize(
    "setting", ["recipe.attack.mode=train", "recipe.averaging.kind=swa", "recipe.weight_perturbation.gamma=0.01"]
)
def test_whatever_forwards_training_batches_takes_it(setting: str, tmp_path: Path) -> None:
    run = created(tmp_path, "at", *ONE_LEFT, setting)
    fit(task("at", setting), run, Silent(), resume=False, checkpoint_seconds=1e9)
    assert len(run.epochs()) == 2


def test_batches_of_one_image_are_refused_where_they_cannot_train_and_no_run_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"batches of one image cannot train .* set recipe\.batch_size to 2 or more"):
        Training(task("st", "recipe.batch_size=1"))
    Training(small_task("st", "recipe.batch_size=1"))
    with pytest.raises(ValueError, match="batches of one image"):
        api.train(experiment("digits/resnet18/st", settings=("recipe.batch_size=1",)), tmp_path, device="cpu")
    with pytest.raises(ValueError, match="needs a CUDA device"):
        api.train(experiment("digits/tiny/st", settings=("recipe.engine=graph",)), tmp_path, device="cpu")
    assert not any(tmp_path.iterdir())


def test_the_logged_loss_is_the_mean_over_all_images() -> None:
    training = Training(task("st", "recipe.lr=1e-9"))
    training.task.model.train()
    order = torch.arange(65)
    total = 0.0
    for number in range(2):
        batch = step.make_batch(training.task, training.task.batch(order, number), 0, number)
        logits = training.task.model(batch.x)
        total += nn.functional.cross_entropy(logits.double(), batch.y, reduction="sum").item()
        training.advance(order)
    assert training.finish_epoch()["loss"]["total"] == pytest.approx(total / 65, rel=1e-5)
