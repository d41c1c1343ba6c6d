"""What every registered defense keeps, whatever its equations say."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from advdpnp import cuda_graphs
from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.attacks.projected_ascent import ascend
from advdpnp.callbacks import Silent
from advdpnp.defenses import DEFENSES
from advdpnp.experiments import experiment, from_config
from advdpnp.models.folding import fold_batchnorm
from advdpnp.noise import IndexNoise
from advdpnp.training import Task, fit
from advdpnp.training.finite_check import NonFiniteLossError
from advdpnp.training.step import Training, make_batch
from training.small import StopAt, created, double_task, in_double, small_task, trained

EVERY = pytest.mark.parametrize("name", DEFENSES)
CRAFTING = pytest.mark.parametrize("name", [name for name, defense in DEFENSES.items() if defense.crafts])


def step_of(task: Task) -> tuple[Training, Any, Tensor, dict[str, Tensor]]:
    """A run at its first step: batch, adversarial images, loss terms."""
    training = Training(task)
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    batch = make_batch(task, torch.arange(32), 0, 0)
    x_adv = training.craft(batch)
    return training, batch, x_adv, training.losses(batch, x_adv)


@EVERY
def test_logits_centers_and_losses_have_their_shapes_and_are_finite(name: str) -> None:
    task = small_task(name)
    _, batch, x_adv, terms = step_of(task)
    assert task.model(batch.x).shape == (32, 10)
    width = task.model.embed(batch.x).shape[1]
    assert task.model.class_centers().shape == (10, width)
    assert all(term.shape == () and torch.isfinite(term) for term in terms.values())
    objective = task.defense.objective(task.model, batch.x, x_adv, batch.y)
    assert objective.shape == (32,) and torch.isfinite(objective).all()


@EVERY
def test_adversarial_images_are_in_the_ball_and_the_box(name: str) -> None:
    task = small_task(name)
    _, batch, x_adv, _ = step_of(task)
    moved = (x_adv - batch.x).abs().max().item()
    assert moved <= task.recipe.attack.eps + 1e-6 and x_adv.min() >= 0 and x_adv.max() <= 1
    assert (moved > 0) == task.defense.crafts and not x_adv.requires_grad


@EVERY
def test_every_parameter_that_the_optimizer_has_learns_and_no_other_changes(name: str) -> None:
    task = small_task(name)
    training = Training(task)
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    before = {key: value.clone() for key, value in task.model.named_parameters()}
    training.advance(torch.arange(96))
    held = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
    for key, value in task.model.named_parameters():
        assert torch.equal(value, before[key]) == (id(value) not in held), key


@EVERY
def test_what_does_not_learn_stays_frozen_and_in_eval_mode(name: str) -> None:
    task = small_task(name)
    task.model.train()
    for module in task.model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            assert not module.training


@EVERY
@pytest.mark.parametrize("recipe", ["default", "paper"])
@pytest.mark.parametrize("data", ["cifar10", "cifar100", "digits"])
def test_its_configuration_survives_json_and_yaml(name: str, recipe: str, data: str) -> None:
    wanted = experiment(f"{data}/resnet8/{name}", recipe)
    config = wanted.config()
    assert from_config(json.loads(json.dumps(config))) == wanted
    assert from_config(yaml.safe_load(yaml.safe_dump(config))) == wanted
    assert all(not isinstance(getattr(wanted.defense, f.name), Tensor) for f in dataclasses.fields(wanted.defense))


@EVERY
def test_the_same_step_has_the_same_losses_and_terms_keep_their_names(name: str) -> None:
    first, second = step_of(small_task(name))[3], step_of(small_task(name))[3]
    assert list(first) == list(second)
    assert all(torch.equal(first[term], second[term]) for term in first)


@EVERY
def test_resume_is_bit_identical_at_every_kind_of_place(name: str, tmp_path: Path) -> None:
    whole = trained(tmp_path, small_task(name), created(tmp_path / "whole", name))
    for steps in (2, 3, 4):
        run = created(tmp_path / f"stopped-{steps}", name)
        with pytest.raises(KeyboardInterrupt):
            fit(small_task(name), run, StopAt(steps), resume=False, checkpoint_seconds=0)
        resumed = trained(tmp_path, small_task(name), run, resume=True)
        assert set(resumed) == set(whole)
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@EVERY
def test_the_state_dict_alone_restores_the_method(name: str, tmp_path: Path) -> None:
    task = small_task(name)
    fit(task, created(tmp_path / "run", name), Silent(), resume=False, checkpoint_seconds=1e9)
    again = small_task(name)
    again.model.load_state_dict(task.model.state_dict())
    terms = []
    for each in (task, again):
        each.model.train()
        batch = make_batch(each, torch.arange(32), 2, 0)
        terms.append(Training(each).losses(batch, (batch.x + 0.05).clamp(0, 1)))
    assert all(torch.equal(terms[0][key], terms[1][key]) for key in terms[0])


@CRAFTING
def test_a_fast_ascent_makes_the_eager_iterates_with_one_capture(name: str) -> None:
    task = double_task(name)
    task.defense.between_epochs(task.model, 0)
    frozen = fold_batchnorm(task.model)
    fast = CompiledAscent((32, 1, 8, 8), capture=cuda_graphs.again, compiler=lambda function: function)
    for step in range(2):
        batch = in_double(make_batch(task, torch.arange(32), 0, step))
        found = []
        for engine in (ascend, fast):
            noise = IndexNoise(0, batch.index, batch.epoch)

            def bound(*arguments: Any, engine: Any = engine, noise: Any = noise) -> Tensor:
                return engine(*arguments, budget=task.recipe.attack.budget(), noise=noise)  # type: ignore[no-any-return]

            found.append(task.defense.perturb(frozen, batch, bound))
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-10)
    assert fast.made == 1


@CRAFTING
def test_crafting_leaves_parameters_gradients_statistics_and_modes_as_they_were(name: str) -> None:
    task = small_task(name, "recipe.engine=eager")
    training = Training(task)
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    before = {key: value.clone() for key, value in task.model.state_dict().items()}
    modes = [module.training for module in task.model.modules()]
    training.craft(make_batch(task, torch.arange(32), 0, 0))
    assert all(torch.equal(value, before[key]) for key, value in task.model.state_dict().items())
    assert modes == [module.training for module in task.model.modules()]
    assert all(parameter.grad is None for parameter in task.model.parameters())


@EVERY
def test_advice_against_divergence_names_fields_of_the_method_alone(name: str, tmp_path: Path) -> None:
    task = small_task(name)
    own = {field.name for field in dataclasses.fields(task.defense)}
    assert set(re.findall(r"defense\.(\w+)", task.defense.steadier())) <= own
    with torch.no_grad():
        next(task.model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"lower recipe\.lr") as caught:
        fit(task, created(tmp_path, name), Silent(), resume=False)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(task.defense.steadier() or "recipe.lr")
    assert ("prototype" in said or "renormalize" in said) == ("dpnp" in name)
