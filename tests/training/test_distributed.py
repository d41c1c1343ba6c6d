"""Several ranks train as one process does: the same losses, and on every rank the same bits."""

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks.projected_ascent import ascend
from advdpnp.defenses import DEFENSES
from advdpnp.defenses.base import Batch
from advdpnp.noise import IndexNoise
from advdpnp.training import Task
from advdpnp.training.data_parallel import check_ranks
from advdpnp.training.distributed import ALONE, World, part_of
from advdpnp.training.optimizer import rate_factor
from training import ranks
from training.small import double_task, train_in_double

CASES = {
    2: ("plain", "normalized", "perturbed", "counted", "validated", "told", "stopped", "diverged", "helped"),
    3: ("plain", "normalized", "perturbed", "validated", "told", "continued", "resumed"),
    4: ("plain",),
}
FOUND: dict[int, list[dict[str, Any]]] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


def found(size: int, folder: Path) -> list[dict[str, Any]]:
    """What the ranks of a group found; the group works once, and that of three goes on where that of two stopped."""
    if size not in FOUND:
        if size == 3:
            found(2, folder)
            for ways in (1, 3):
                shutil.copytree(folder / "by-signal", folder / f"continued-by-{ways}")
        FOUND[size] = ranks.on_ranks(size, CASES[size], folder)
    return FOUND[size]


def check_close(these: Any, those: Any) -> None:
    torch.testing.assert_close(these, those, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("rows", "size", "counts"),
    [
        (128, 1, [128]),
        (128, 2, [64, 64]),
        (128, 3, [43, 43, 42]),
        (5, 4, [3, 2, 0, 0]),
        (3, 2, [3, 0]),
        (2, 2, [2, 0]),
        (1, 3, [1, 0, 0]),
        (8, 4, [2, 2, 2, 2]),
    ],
)
def test_a_batch_is_cut_into_parts_of_two_rows_or_more(rows: int, size: int, counts: list[int]) -> None:
    parts = [part_of(rows, rank, size) for rank in range(size)]
    assert [round(part.share * rows) for part in parts] == counts
    assert sum(part.share for part in parts) == pytest.approx(1, abs=1e-15)
    own = [row for part in parts if part.share for row in range(rows)[part.rows]]
    assert own == list(range(rows))
    # A rank that is left over repeats the first one's rows, so that it has something to forward.
    assert all(part.rows == parts[0].rows for part in parts if not part.share)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 4])
def test_without_batchnorm_losses_and_weights_are_those_of_one_process(
    size: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_in_double(monkeypatch)
    for rank in found(size, folder):
        for case, settings in (("plain", ()), ("perturbed", ("recipe.weight_perturbation.gamma=0.01",))):
            for name, (terms, weights) in rank.get(case, {}).items():
                expected, others = ranks.epoch_of(ranks.plain_task(name, *settings), ALONE)
                check_close(torch.tensor(terms, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64))
                for key, value in others.items():
                    torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-7, msg=f"{name} {key}")


def reference(task: Task, parts: Sequence[Sequence[Sequence[int]]]) -> tuple[list[float], dict[str, Tensor]]:
    """Training steps in one process that normalizes the parts of each batch by themselves.

    Plain PyTorch: the mean over parts by rows, running statistics likewise, SGD of torch.

    Args:
        task: an adv-dpnp or the like, whose loss is a mean over rows and terms without rows.
        parts: of each step, positions of each part.
    """
    model, recipe = task.model, task.recipe
    sgd = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    totals = []
    task.defense.between_epochs(model, 0)
    for step, indices in enumerate(parts):
        rows, layers = sum(map(len, indices)), [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        before = [(m.running_mean.clone(), m.running_var.clone(), m.num_batches_tracked.clone()) for m in layers]
        means = [[torch.zeros_like(value) for value in values[:2]] for values in before]
        sgd.zero_grad()
        total = 0.0
        crafted = []
        for index in map(torch.tensor, indices):
            batch = Batch(*ranks.in_double(ranks.batch_of(task, index, step)).__dict__.values())
            model.eval().requires_grad_(False)
            noise = IndexNoise(task.seed, index, 0)

            def bound(*given: Any, noise: IndexNoise = noise, **more: Any) -> Tensor:
                return ascend(*given, budget=recipe.attack.budget(), noise=noise, stream="attack", **more)

            crafted.append((batch, task.defense.perturb(model, batch, bound)))
            model.requires_grad_(True)
        model.train()
        for batch, x_adv in crafted:
            for layer, (mean, variance, count) in zip(layers, before, strict=True):
                layer.running_mean.copy_(mean), layer.running_var.copy_(variance)
                layer.num_batches_tracked.copy_(count)
            share = len(batch.y) / rows
            loss = share * torch.stack(list(task.defense.loss(model, batch, x_adv).values())).sum()
            loss.backward()
            total += loss.item()
            for layer, (mean, variance) in zip(layers, means, strict=True):
                mean += share * layer.running_mean
                variance += share * layer.running_var
        for layer, (mean, variance) in zip(layers, means, strict=True):
            layer.running_mean.copy_(mean), layer.running_var.copy_(variance)
        for group in sgd.param_groups:
            group["lr"] = recipe.lr * rate_factor(recipe, step, len(parts))
        sgd.step()
        task.defense.between_steps(model)
        totals.append(total)
    task.defense.between_epochs(model, 1)
    return totals, model.state_dict()


# Rows of each part, by hand: 20, 20 and 5 images over two ranks, and over three.
PARTS = {2: [[10, 10], [10, 10], [3, 2]], 3: [[7, 7, 6], [7, 7, 6], [3, 2]]}


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_batchnorm_normalizes_parts_as_a_one_process_reference_does(size: int, folder: Path) -> None:
    for name in ("adv-dpnp", "at", "trades", "adv-dpnp-fsr"):
        task = double_task(name, *ranks.SIZES)
        order = iter(ranks.order_of(task).tolist())
        parts = [[[next(order) for _ in range(rows)] for rows in step] for step in PARTS[size]]
        totals, expected = reference(task, parts)
        for rank in found(size, folder):
            terms, weights = rank["normalized"][name]
            check_close(torch.tensor(terms, dtype=torch.float64).sum(dim=1), torch.tensor(totals, dtype=torch.float64))
            for key, value in expected.items():
                torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-7, msg=f"{name} {key}")


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_every_defense_ends_with_the_same_bits_on_all_ranks(size: int, folder: Path) -> None:
    first, *others = (rank["normalized"] for rank in found(size, folder))
    assert list(first) == list(DEFENSES)
    for name, (terms, weights) in first.items():
        assert torch.tensor(terms).isfinite().all()
        for other in others:
            assert other[name][0] == terms
            assert all(torch.equal(other[name][1][key], value) for key, value in weights.items()), name


@pytest.mark.slow
def test_collectives_are_the_gradient_and_the_statistics_and_none_is_in_the_attack(folder: Path) -> None:
    for rank in found(2, folder):
        counted = rank["counted"]
        assert all(crafting == [0] for crafting, _ in counted.values())
        steps = {name: step for name, (_, step) in counted.items()}
        # The gradient; with it IKL's sums, or running statistics; DIO's counts; the other gradient of AWP.
        assert steps == {"at": 1, "normalized": 2, "ikl": 2, "dio": 2, "awp": 2}


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_validation_in_shares_is_that_of_one_process(size: int, folder: Path) -> None:
    accuracy, *tensors = ranks.validated(ALONE, folder)
    for rank in found(size, folder):
        same, *others = rank["validated"]
        assert same == accuracy and list(same) == list(accuracy)
        for these, those in zip(tensors, others, strict=True):
            assert all(torch.equal(these[name], those[name]) for name in these)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_agree_and_rank_0_has_the_word(size: int, folder: Path) -> None:
    for rank in found(size, folder):
        unlike, tensor, agreed, word = rank["told"]
        assert unlike == ["b"] and torch.equal(tensor, torch.arange(24.0).view(2, 3, 2, 2))
        assert agreed == [True, False, True]
        assert word == {"rank": 0, "tensor": torch.tensor(0)}


@pytest.mark.slow
def test_a_helper_is_trained_once_and_every_rank_has_its_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_in_double(monkeypatch)
    expected, notes = ranks.helped(ALONE, folder)
    assert len(expected) == 3 and "st+helper/seed-0 is there" in notes
    runs = [ranks.Run(folder / f"helped-{size}/digits/tiny/hat/seed-0") for size in (1, 2)]
    for rank in found(2, folder):
        helper, *helped = these = rank["helped"][0]
        for weights, others in zip(these, expected, strict=True):
            for key, value in others.items():
                torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-7, msg=key)
        for weights in helped:
            assert all(torch.equal(weights[f"helper.network.{key}"], value) for key, value in helper.items())
    # Rank 0 trains it, and says so; the other one has nothing to say.
    assert "st+helper/seed-0 is trained first" in rank["helped"][1]
    stored = [run.config()["needs"] for run in runs]
    assert [one["folder"] for one in stored] == ["digits/tiny/st+helper/seed-0"] * 2
    for run, one in zip(runs, stored, strict=True):
        weights_path = ranks.Run(run.folder.parents[1] / "st+helper/seed-0").weights_path("last")
        assert one["weights_sha256"] == hashlib.sha256(weights_path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("images", "fits"), [(40, True), (48, True), (44, True), (43, False), (21, True)])
def test_synchronized_batchnorm_leaves_no_rank_to_repeat_rows(images: int, fits: bool) -> None:
    # In batches of 20, the last of 20, 8, 4, 3 and, with the one before, 21.
    task = ranks.plain_task("at", "recipe.sync_batchnorm=true")
    task = replace(task, train=task.train.select(torch.arange(images) % 45))
    with nullcontext() if fits else pytest.raises(ValueError, match="two images or more for each of 2 ranks"):
        check_ranks(task.recipe, torch.device("cuda"), World(0, 2), task.smallest_batch)


@pytest.mark.slow
def test_what_stops_one_rank_stops_all_after_the_same_step(folder: Path) -> None:
    first, second = (rank["stopped"] for rank in found(2, folder))
    # It comes after the second step, and goes to the others with the third, the last of its epoch.
    assert first["signal"][:2] == ["Terminated", ["stored after epoch 0, step 3"]]
    assert second["signal"][:2] == ["KeyboardInterrupt", ["stored after epoch 0, step 3"]]
    assert first["callback"][:2] == second["callback"][:2] == ["StopTraining", ["stored after epoch 0, step 3"]]
    for by in ("signal", "callback"):
        assert all(torch.equal(first[by][2][key], value) for key, value in second[by][2].items())


@pytest.mark.slow
def test_a_run_of_two_ranks_goes_on_with_one_or_three(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three = found(3, folder)
    train_in_double(monkeypatch)
    whole = ranks.fitted(ranks.plain_task("adv-dpnp", *ranks.LONG), folder / "whole", ALONE)
    alone = ranks.fitted(ranks.plain_task("adv-dpnp", *ranks.LONG), folder / "continued-by-1", ALONE, resume=True)
    for weights in (alone, *(rank["continued"] for rank in three)):
        for key, value in whole.items():
            torch.testing.assert_close(weights[key], value, rtol=1e-6, atol=1e-7, msg=key)
    lines = [ranks.Run(folder / name).epochs() for name in ("whole", "continued-by-1", "continued-by-3")]
    for one, *others in zip(*lines, strict=True):
        for other in others:
            assert other["loss"] == pytest.approx(one["loss"], rel=1e-8)
            assert other["holdout"] == one["holdout"]


@pytest.mark.slow
def test_a_resumed_run_of_three_ranks_has_the_bits_of_a_whole_one(folder: Path) -> None:
    for rank in found(3, folder):
        whole, resumed = rank["resumed"]
        assert all(torch.equal(whole[key], value) for key, value in resumed.items())
    whole, broken = (ranks.Run(folder / f"{name}-3") for name in ("whole", "broken"))
    for which in ("last", "best"):
        assert whole.weights_path(which).read_bytes() == broken.weights_path(which).read_bytes()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_on_one_rank_ends_all_with_the_same_words(folder: Path) -> None:
    first, second = (rank["diverged"] for rank in found(2, folder))
    assert first == second
    assert "loss term ce_clean became non-finite in epoch 1, step 1" in first
