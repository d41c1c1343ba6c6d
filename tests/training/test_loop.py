import copy
import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from advdpnp.callbacks import Silent
from advdpnp.defenses import DEFENSES
from advdpnp.training import fit
from advdpnp.training.crafting import attack_mode
from advdpnp.training.finite_check import FiniteCheck, NonFiniteLossError
from advdpnp.training.step import Training, make_batch
from training.small import StopAt, created, small_task, trained, without_times


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_resumed_run_is_bit_identical_to_an_unbroken_one(defense: str, steps: int, tmp_path: Path) -> None:
    # 3 steps make an epoch: the stop falls inside the first epoch, at its end, and inside the second.
    whole_run = created(tmp_path / "whole", defense)
    whole = trained(tmp_path, small_task(defense), whole_run)
    broken_run = created(tmp_path / "broken", defense)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task(defense), broken_run, StopAt(steps), resume=False, checkpoint_seconds=0)
    resumed = trained(tmp_path, small_task(defense), broken_run, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert without_times(whole_run.epochs()) == without_times(broken_run.epochs())
    best, again = whole_run.read_weights("best"), broken_run.read_weights("best")
    assert best[1] == again[1] and all(torch.equal(best[0][name], again[0][name]) for name in best[0])


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    run = created(tmp_path)
    trained(tmp_path, small_task(), run)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    trained(tmp_path, small_task(), run, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "settings",
    [(), ("recipe.averaging.kind=ema", "recipe.averaging.decay=0.8"), ("recipe.averaging.kind=swa",)],
    ids=["plain", "ema", "swa"],
)
def test_last_weights_that_are_lost_come_back_from_the_state(tmp_path: Path, settings: tuple[str, ...]) -> None:
    run = created(tmp_path, "at", *settings)
    trained(tmp_path, small_task("at", *settings), run)
    path = run.weights_path("last")
    whole = path.read_bytes()
    for damage in (path.unlink, lambda: path.write_bytes(whole[:-9])):
        damage()
        fit(small_task("at", *settings), run, Silent(), resume=True)
        assert path.read_bytes() == whole


def test_best_weights_that_are_lost_are_no_reason_to_go_on_without_them(tmp_path: Path) -> None:
    run, task = created(tmp_path), small_task()
    with pytest.raises(KeyboardInterrupt):
        fit(task, run, StopAt(4), resume=False, checkpoint_seconds=0)
    path = run.weights_path("best")
    whole = path.read_bytes()
    weights, _ = run.read_weights("best")
    for content, problem in ((None, "not there"), (whole[:-9], "damaged"), (b"", "damaged")):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"best\.safetensors is {problem}.*put it back from a copy, or remove"):
            fit(small_task(), run, Silent(), resume=True)
    run.write_weights("best", weights, 0)
    with pytest.raises(ValueError, match="is of epoch 0, not 1"):
        fit(small_task(), run, Silent(), resume=True)
    path.write_bytes(whole)
    fit(small_task(), run, Silent(), resume=True)


def test_the_global_generator_has_no_part(tmp_path: Path) -> None:
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        weights.append(trained(tmp_path, small_task(), created(tmp_path / str(seed))))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_each_epoch_sees_every_image_once_in_another_order() -> None:
    from advdpnp import noise

    task = small_task()
    orders = []
    for epoch in range(2):
        order = noise.permutation(task.seed, "order", epoch, len(task.train))
        assert torch.equal(order.sort().values, torch.arange(len(task.train)))
        orders.append(order)
    assert not torch.equal(*orders)


def test_a_smaller_last_batch_is_trained_on() -> None:
    task = small_task("at", "recipe.train_images=70")
    assert task.steps_per_epoch == 3
    seen: list[int] = []
    training = Training(task)
    craft = training.craft
    training.craft = lambda batch: seen.append(len(batch.y)) or craft(batch)
    for _ in range(3):
        training.advance(torch.arange(70))
    assert seen == [32, 32, 6]


def test_holdout_and_training_images_are_apart() -> None:
    task = small_task("at", "recipe.train_images=0")
    assert task.holdout is not None
    assert len(task.train) == 1437 - 40 and len(task.holdout) == 40
    train = {row.numpy().tobytes() for row in task.train.pixels}
    held = {row.numpy().tobytes() for row in task.holdout.pixels}
    assert len(train & held) == 0
    assert torch.bincount(task.holdout.labels).tolist() == [4] * 10


def test_attack_mode_freezes_and_restores_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    model.train()
    model[1].eval()
    with pytest.raises(RuntimeError), attack_mode(model, "eval"):
        assert not any(m.training for m in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        raise RuntimeError
    assert [m.training for m in model.modules()] == [True, True, False]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]


def test_crafting_in_eval_mode_leaves_batchnorm_untouched_and_in_train_mode_does_not() -> None:
    for mode, same in (("eval", True), ("train", False)):
        training = Training(small_task("at", f"recipe.attack.mode={mode}", "recipe.engine=eager"))
        task = training.task
        task.model.train()
        before = task.model.backbone.bn1.running_mean.clone()
        training.craft(make_batch(task, torch.arange(32), 0, 0))
        assert torch.equal(task.model.backbone.bn1.running_mean, before) == same


def test_an_epochs_line_says_what_was_trained(tmp_path: Path) -> None:
    run = created(tmp_path)
    trained(tmp_path, small_task(), run)
    line = run.epochs()[-1]
    assert (line["epoch"], line["epochs"], line["steps"]) == (2, 2, 3)
    assert list(line["loss"]) == ["total", "ce_clean", "dpp_clean", "ce_adversarial", "dpp_adversarial", "dfa", "dnp"]
    assert line["loss"]["total"] == pytest.approx(sum(v for k, v in line["loss"].items() if k != "total"), rel=1e-6)
    assert line["holdout"]["n"] == 40 and 0 <= line["holdout"]["robust_accuracy"] <= 1
    # Norms are logged before the renormalization, which would hide how far they drift.
    assert line["centers"]["norm_min"] != pytest.approx(40.0, abs=1e-6)


@pytest.mark.parametrize("defense", DEFENSES)
def test_training_learns_the_digits(defense: str, tmp_path: Path) -> None:
    run = created(tmp_path, defense, "recipe.epochs=8", "recipe.train_images=600")
    task = small_task(defense, "recipe.epochs=8", "recipe.train_images=600")
    trained(tmp_path, task, run)
    assert run.epochs()[-1]["holdout"]["clean_accuracy"] > 0.6


def test_a_nan_stops_the_run_naming_epoch_step_and_term_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    task = small_task()
    run = created(tmp_path)

    class Poison(Silent):
        def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
            if (epoch, step) == (1, 1):
                good.append(run.state_path.read_bytes())
                with torch.no_grad():
                    task.model.head.prototypes[0, 0] = float("nan")

    good: list[bytes] = []
    with pytest.raises(NonFiniteLossError, match=r"weights head\.prototypes became non-finite|loss term ce_clean"):
        fit(task, run, Poison(), resume=False, checkpoint_seconds=0)
    assert run.state_path.read_bytes() == good[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_that_is_not_finite_is_told_and_no_step_passed_over(precision: str, tmp_path: Path) -> None:
    task, run = small_task("adv-dpnp", f"recipe.precision={precision}"), created(tmp_path)
    weight = next(task.model.parameters())
    seen: list[torch.Tensor] = []

    class Poison(Silent):
        def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
            seen.append(weight.detach().clone())
            if len(seen) == 2:
                weight.register_hook(lambda gradient: gradient * float("inf"))

    with pytest.raises(NonFiniteLossError, match="became non-finite"):
        fit(task, run, Poison(), resume=False, checkpoint_seconds=0)
    # Every step before it has changed the weights, and the very next one has ended the run.
    assert len(seen) == 3 and not any(torch.equal(*pair) for pair in itertools.pairwise(seen))
    state = run.read_state()
    assert state["epoch"] * task.steps_per_epoch + state["step"] == 2


@pytest.mark.parametrize("which", ["last", "best"])
def test_what_is_stored_is_finite_though_the_trained_network_is(which: str, tmp_path: Path) -> None:
    training, run = Training(small_task()), created(tmp_path)
    training.advance(torch.arange(len(training.task.train)))
    bad = {name: tensor.clone() for name, tensor in training.task.model.state_dict().items()}
    bad["head.prototypes"][0, 0] = float("inf")
    if which == "best":
        training._best, training._best_weights = (0.5, 0.5, 1), bad
    else:
        training._evaluated = copy.deepcopy(training.task.model)
        training._evaluated.load_state_dict(bad)
    with pytest.raises(NonFiniteLossError, match=r"weights head\.prototypes became non-finite"):
        training.save(run, final=True)
    assert not list(run.folder.rglob("*.safetensors")) and not run.state_path.exists()


def test_the_guard_names_the_first_bad_term_without_reading_the_device_in_between() -> None:
    finite, inf = FiniteCheck(torch.device("cpu")), float("inf")
    for step, values in enumerate(([1.0, 1.0], [1.0, inf], [inf, inf])):
        finite.watch(torch.tensor(values), 10 + step)
    with pytest.raises(NonFiniteLossError, match="loss term kl became non-finite in epoch 3, step 4"):
        finite.check_losses(["ce", "kl"], steps_per_epoch=4)


def test_the_term_that_broke_is_named_by_a_run(tmp_path: Path) -> None:
    task = small_task("adv-dpnp", "defense.lambda_dnp=1e38", "recipe.lr=0")
    with pytest.raises(NonFiniteLossError, match="loss term dnp became non-finite in epoch 1, step 1"):
        fit(task, created(tmp_path), Silent(), resume=False, checkpoint_seconds=0)


def test_prototypes_are_on_the_sphere_in_what_is_stored(tmp_path: Path) -> None:
    run = created(tmp_path)
    weights = trained(tmp_path, small_task(), run)
    torch.testing.assert_close(weights["head.prototypes"].norm(dim=1), torch.full((10,), 40.0))


def test_configurations_survive_json(tmp_path: Path) -> None:
    from advdpnp.experiments import from_config

    for defense in DEFENSES:
        config = small_task(defense) and created(tmp_path / defense, defense).config()
        assert from_config(json.loads(json.dumps(config))).config() == from_config(config).config()
