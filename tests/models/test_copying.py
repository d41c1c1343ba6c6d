"""Networks whose weights are computed from others are copied, folded and trained like any."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from advdpnp.callbacks import Silent
from advdpnp.defenses import HAT
from advdpnp.models import build_backbone
from advdpnp.models.classifier import Classifier
from advdpnp.models.copying import copied
from advdpnp.models.folding import fold_batchnorm, refold, unfolded
from advdpnp.models.heads import LinearHead
from advdpnp.training import fit
from training.small import created, small_task

Change = Callable[[nn.Module], Any]

with warnings.catch_warnings():
    # The old forms are deprecated, and are in many published networks.
    warnings.simplefilter("ignore", FutureWarning)
    OLD_WEIGHT_NORM, OLD_SPECTRAL_NORM = nn.utils.weight_norm, nn.utils.spectral_norm

KINDS: dict[str, Change] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old weight_norm": OLD_WEIGHT_NORM,
    "old spectral_norm": OLD_SPECTRAL_NORM,
    "pruned": lambda layer: prune.random_unstructured(layer, "weight", amount=0.3),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


def changed(model: nn.Module, change: Change) -> nn.Module:
    for layer in list(model.modules()):
        if isinstance(layer, nn.Conv2d):
            change(layer)
    return model


def network(change: Change, size: int = 8) -> Classifier:
    torch.manual_seed(0)
    backbone = build_backbone("resnet8", (3, size, size))
    model = Classifier(changed(backbone, change), LinearHead(backbone.features, 10))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def step(model: nn.Module) -> None:
    """Moves every parameter, and leaves tensors with a history behind."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()(images(8)).square().mean().backward()
    optimizer.step()


def answer(model: nn.Module) -> Tensor:
    """As it is from its parameters alone: computed again, in the same module, by its own forward."""
    with torch.no_grad():
        logits: Tensor = model.eval()(images())
    return logits


@pytest.mark.parametrize("change", KINDS.values(), ids=KINDS)
def test_a_copy_answers_alike_and_has_a_life_of_its_own(change: Change) -> None:
    model = network(change)
    step(model)
    twin = copied(model)
    expected = answer(model)
    assert torch.equal(answer(twin), expected)
    step(twin)
    assert torch.equal(answer(model), expected) and not torch.equal(answer(twin), expected)


def test_what_is_shared_is_not_copied_and_kept_activations_are_values() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    model.kept = {"last": [model(torch.ones(1, 4))]}
    twin = copied(model, [model[0]])
    assert twin[0] is model[0] and twin[1] is not model[1]
    assert torch.equal(twin.kept["last"][0], model.kept["last"][0]) and twin.kept["last"][0].is_leaf


@pytest.mark.parametrize("change", KINDS.values(), ids=KINDS)
def test_a_frozen_copy_is_the_same_function_before_and_after_a_step(change: Change) -> None:
    model = network(change)
    step(model)
    frozen, low = fold_batchnorm(model), fold_batchnorm(model, torch.bfloat16)
    # No convolution whose weight is computed is folded.
    assert len(unfolded(frozen)) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for _ in range(2):
        expected = answer(model)
        torch.testing.assert_close(answer(frozen), expected, rtol=1e-4, atol=1e-5)
        assert torch.cosine_similarity(answer(low), expected).min() > 0.99
        step(model)
        refold(frozen, model)
        refold(low, model)


def test_a_batch_norm_that_is_no_affine_map_is_not_folded() -> None:
    model = network(lambda layer: layer)
    first = model.get_submodule("backbone.bn1")
    assert isinstance(first, nn.BatchNorm2d)
    first.weight = first.bias = None
    step(model)
    frozen = fold_batchnorm(model)
    assert unfolded(frozen) == ["backbone.bn1"]
    torch.testing.assert_close(answer(frozen), answer(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["eager", "folded"])
def test_a_network_with_weight_norm_trains_with_an_average(engine: str, tmp_path: Path) -> None:
    settings = (f"recipe.engine={engine}", "recipe.averaging.kind=ema", "recipe.epochs=1", "recipe.train_images=64")
    task = small_task("at", *settings)
    changed(task.model, OLD_WEIGHT_NORM)
    run = created(tmp_path, "at", *settings)
    fit(task, run, Silent(), resume=False, checkpoint_seconds=1e9)
    names = run.read_weights("last")[0].keys()
    assert {"backbone.conv1.weight_g", "backbone.conv1.weight_v"} < names and "backbone.conv1.weight" not in names


def test_hat_s_helper_is_a_copy_of_any_backbone() -> None:
    backbone = changed(build_backbone("tiny", (1, 8, 8)), OLD_WEIGHT_NORM)
    model = HAT().build(backbone, 10)
    model.helper.load_state_dict(model.helper.state_dict())
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(model.helper(x), model.eval()(x))
