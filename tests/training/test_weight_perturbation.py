"""Adversarial weight perturbation, against a version with a proxy network."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp.defenses import DEFENSES
from advdpnp.training.step import LossModule, Training, make_batch
from advdpnp.training.weight_perturbation import perturbed_weights, weights_perturbed
from reference import awp as reference
from training.small import double_task, in_double, small_task


@pytest.mark.parametrize("defense", ["at", "trades", "adv-dpnp"])
def test_weights_and_gradients_are_the_proxys(defense: str) -> None:
    task = double_task(defense)
    task.model.train()
    task.defense.between_epochs(task.model, 0)
    batch = in_double(make_batch(task, torch.arange(32), 0, 0))
    x_adv = (batch.x + 0.05 * torch.randn(batch.x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)

    def loss(model: nn.Module) -> Tensor:
        return torch.stack(list(task.defense.loss(model, batch, x_adv).values())).sum()

    weights, gradients = reference.gradients_at_perturbed_weights(task.model, loss, 0.01)
    with weights_perturbed(task.model, 0.01, lambda: loss(task.model)):
        found = {name: p.detach().clone() for name, p in task.model.named_parameters()}
        loss(task.model).backward()
    for name, parameter in task.model.named_parameters():
        torch.testing.assert_close(found[name], weights[name], rtol=1e-9, atol=1e-12, msg=name)
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-7, atol=1e-10, msg=name)


@pytest.mark.parametrize("defense", DEFENSES)
def test_weights_and_buffers_come_back_bit_for_bit_also_after_an_error(defense: str) -> None:
    training = Training(small_task(defense))
    task = training.task
    task.model.train()
    batch = make_batch(task, torch.arange(32), 0, 0)
    x_adv = training.craft(batch)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}

    def loss() -> Tensor:
        return torch.stack(list(training.losses(batch, x_adv).values())).sum()

    with pytest.raises(RuntimeError), weights_perturbed(task.model, 0.01, loss):
        inside = {name: value.clone() for name, value in task.model.state_dict().items()}
        raise RuntimeError
    after = task.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    moved = {name for name in before if not torch.equal(before[name], inside[name])}
    # A prototype or scaled head may have no gradient here or there; nothing else moves.
    assert moved == set(perturbed_weights(task.model))
    for name in moved:
        length = (inside[name] - before[name]).norm() / before[name].norm()
        assert length.item() == pytest.approx(0.01, rel=1e-3)


def test_helpers_prototypes_batchnorm_and_biases_are_never_perturbed() -> None:
    model = small_task("adv-dpnp").model
    model.helper = nn.Linear(3, 3).requires_grad_(False)
    names = set(perturbed_weights(model))
    assert names and all(name.endswith("weight") and model.get_parameter(name).dim() > 1 for name in names)
    assert not any("helper" in name or "prototypes" in name or "bn" in name for name in names)


def test_a_weight_without_a_gradient_stays() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "unused": nn.Linear(2, 2), "flat": nn.Linear(2, 2)})
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def loss() -> Tensor:
        return model["used"](torch.ones(1, 2)).sum() + 0 * model["flat"](torch.ones(1, 2)).sum()

    with weights_perturbed(model, 0.1, loss):
        assert not torch.equal(model["used"].weight, before["used.weight"])
        assert torch.equal(model["unused"].weight, before["unused.weight"])
        assert torch.equal(model["flat"].weight, before["flat.weight"])


class Counting(LossModule):
    calls = 0

    def forward(self, batch: Any, x_adv: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return super().forward(batch, x_adv)


@pytest.mark.parametrize("start, calls", [("0", 6 + 6), ("0.5", 3 + 6)])
def test_it_begins_at_its_epoch_and_costs_one_more_forward(start: str, calls: int) -> None:
    settings = ("recipe.weight_perturbation.gamma=0.01", f"recipe.weight_perturbation.start={start}")
    training = Training(small_task("at", *settings))
    counting = Counting(training.task.model, training.task.defense, "fp32")
    training.losses = training._static_losses = counting
    training.task.model.train()
    for epoch in range(2):
        training.epoch = epoch
        for step in range(3):
            training.step = step
            training.advance(torch.arange(96))
    assert counting.calls == calls


def test_a_step_counts_its_images_once_in_batchnorm() -> None:
    tracked = []
    for gamma in ("0", "0.01"):
        training = Training(small_task("trades", f"recipe.weight_perturbation.gamma={gamma}"))
        training.task.model.train()
        training.advance(torch.arange(96))
        tracked.append(training.task.model.backbone.bn1.num_batches_tracked.item())
    assert tracked == [2, 2]
