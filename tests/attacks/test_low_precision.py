"""Attacks crafted in bf16 are as strong as fp32 ones when fp32 judges both.

The network is real: resnet8, adversarially trained on 5,000 CIFAR-10 images. Its weights were made by
`advdpnp train cifar10/resnet8/at --recipe paper --set recipe.train_images=5000 --set recipe.epochs=8 --threads 1`.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from advdpnp import data
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.experiments import experiment
from advdpnp.metrics import mcnemar
from advdpnp.models.classifier import Classifier
from advdpnp.models.folding import fold_batchnorm
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel

WEIGHTS = Path(__file__).parents[1] / "fixtures" / "resnet8-at-cifar10.safetensors"
BUDGET = Budget(ThreatModel("linf", 8 / 255), 10, 2 / 255, "uniform")
IMAGES = 256


def network() -> Classifier:
    model = experiment("cifar10/resnet8/at").build()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


def outcome(model: Classifier, dtype: torch.dtype, images: data.Images) -> tuple[Tensor, Tensor]:
    """(N,) bool, images still right, and (N,) cross-entropy, after PGD-10 crafted in `dtype`; fp32 judges."""
    attacked_model, right, loss = fold_batchnorm(model, dtype), [], []
    for index in torch.arange(IMAGES).split(128):
        x, y = images.batch(index)
        x_adv = ascend(attacked_model, cross_entropy, x, (y,), budget=BUDGET, noise=IndexNoise(0, index))
        with torch.no_grad():
            logits = model(x_adv)
        right.append(logits.argmax(dim=1) == y)
        loss.append(cross_entropy(logits, (y,), ()))
    return torch.cat(right), torch.cat(loss)


@pytest.mark.data
@pytest.mark.slow
def test_bf16_attacks_are_as_strong_as_fp32_ones(real_data: Path) -> None:
    model, images = network(), data.load("cifar10", "test", real_data)
    x, y = images.batch(torch.arange(IMAGES))
    with torch.no_grad():
        clean = cross_entropy(model(x), (y,), ()).mean()
    right, loss = outcome(model, torch.float32, images)
    right_bf16, loss_bf16 = outcome(model, torch.bfloat16, images)
    # Neither is the stronger one: of the images that fall to one alone, either has its half.
    assert mcnemar(right, right_bf16) > 1e-4
    # bf16 rounds by a part in 256: the pixels that it sends the other way have gradients of about that share.
    assert loss.mean() - loss_bf16.mean() < torch.finfo(torch.bfloat16).eps * (loss.mean() - clean)


@pytest.mark.data
def test_the_fixture_is_a_robust_classifier_of_real_images(real_data: Path) -> None:
    right, _ = outcome(network(), torch.float32, data.load("cifar10", "test", real_data))
    assert 0.2 < right.double().mean() < 0.4
