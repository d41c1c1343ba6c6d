"""A training too short for BatchNorm's running averages ends with measured ones, and a disagreement is told."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from advdpnp.callbacks import Silent
from advdpnp.training import fit, step
from advdpnp.training.batch_statistics import averages_settle, disagreement_text, two_accuracies
from advdpnp.training.step import Training, statistics_batches
from training.small import created, small_task

# As few photos in large batches: 3 steps in all.
SHORT = ("recipe.epochs=3", "recipe.batch_size=96", "recipe.holdout=0")


class Notes(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_note(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize(
    ("layers", "enough"),
    [
        ([nn.BatchNorm2d(1)], 200),
        ([nn.BatchNorm2d(1, momentum=0.01), nn.BatchNorm2d(1)], 2000),
        ([nn.BatchNorm1d(1, momentum=1.0)], 20),
        ([nn.Linear(1, 1)], 0),
        ([nn.BatchNorm2d(1, track_running_stats=False)], 0),
    ],
)
def test_averages_settle_after_twenty_times_what_they_remember(layers: list[nn.Module], enough: int) -> None:
    model = nn.Sequential(*layers)
    assert averages_settle(model, enough) and not averages_settle(model, enough - 1)


def test_an_equal_average_never_forgets_the_first_steps() -> None:
    assert not averages_settle(nn.BatchNorm2d(1, momentum=None), 10**9)


@pytest.mark.parametrize("defense", ["st", "at", "trades", "adv-dpnp"])
def test_a_short_training_is_as_good_in_eval_mode_as_with_batch_statistics(defense: str, tmp_path: Path) -> None:
    task = small_task(defense, *SHORT)
    fit(task, created(tmp_path, defense, *SHORT), Silent(), resume=False)
    x, y = task.train.batch(torch.arange(len(task.train)))
    own = copy.deepcopy(task.model).train()
    with torch.no_grad():
        running, batch = ((network(x).argmax(1) == y).float().mean() for network in (task.model.eval(), own))
    # With running averages 30, 32, 40 and 68 % were right, and 71, 66, 71 and 84 % with the batch's own statistics.
    assert batch > 0.6 and running > batch - 0.1


def test_statistics_are_the_mean_over_batches_of_training_images(tmp_path: Path) -> None:
    task = small_task("at")
    fit(task, created(tmp_path, "at"), Silent(), resume=False)
    first = task.model.backbone
    with torch.no_grad():
        outputs = [first.conv1(x).double() for x in statistics_batches(task, task.recipe.epochs - 1)]
    means = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(0)
    variances = torch.stack([output.var(dim=(0, 2, 3)) for output in outputs]).mean(0)
    torch.testing.assert_close(first.bn1.running_mean.double(), means, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first.bn1.running_var.double(), variances, rtol=1e-5, atol=1e-6)


def test_a_long_training_keeps_its_running_averages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(step, "measure_statistics", never)
    # 3 steps an epoch.
    assert Training(small_task("st", "recipe.epochs=66"))._measures
    long = Training(small_task("st", "recipe.epochs=67"))
    long.advance(torch.arange(96))
    before = copy.deepcopy(long.task.model.state_dict())
    long.finish_epoch()
    after = long.task.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_look_at_both_accuracies_counts_right_answers_and_changes_nothing() -> None:
    # Class 1 is what lies above the mean. The running mean is far too low, so that everything seems to.
    model = nn.Sequential(nn.BatchNorm1d(1, affine=False), Threshold()).train()
    model[0].running_mean.fill_(-10)
    x, y = torch.tensor([[-1.0], [1.0], [-2.0], [2.0]]), torch.tensor([0, 1, 0, 1])
    before = copy.deepcopy(model.state_dict())
    assert two_accuracies(model, [(x[:2], y[:2]), (x[2:], y[2:])]) == (0.5, 1.0)
    assert model.training and all(torch.equal(before[name], model.state_dict()[name]) for name in before)


class Threshold(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-x, x], dim=1)


def test_a_disagreement_of_more_than_ten_points_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    with monkeypatch.context() as patch:
        patch.setattr(step, "averages_settle", lambda *arguments: True)
        fit(small_task("st", *SHORT), created(tmp_path / "lagging", "st", *SHORT), notes, resume=False)
    warnings = [note for note in notes.told if note.startswith("warning")]
    assert len(warnings) == 1 and "\n" not in warnings[0] and "recipe.epochs" in warnings[0]
    settled = Notes()
    fit(small_task("st", *SHORT), created(tmp_path / "measured", "st", *SHORT), settled, resume=False)
    assert not [note for note in settled.told if note.startswith("warning")]
    assert any("3 steps in all are few" in note for note in settled.told)


def test_only_lost_accuracy_is_told() -> None:
    assert disagreement_text(0.23, 0.74) is not None
    assert disagreement_text(0.65, 0.74) is None and disagreement_text(0.9, 0.5) is None
