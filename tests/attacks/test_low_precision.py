"""Attacks crafted in bf16 are as strong as fp32 ones when fp32 judges both.

The network is real: resnet8, adversarially trained on 5,000 CIFAR-10 images. Its weights were made by
`advdpnp train cifar10/resnet8/at --recipe paper --set recipe.train_images=5000 --set recipe.epochs=8 --threads 1`.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from advdpnp import data
from advdpnp.attacks.ascent import Budget, ascend, cross_entropy
from advdpnp.experiments import experiment
from advdpnp.models.classifier import Classifier
from advdpnp.models.frozen import freeze
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel

WEIGHTS = Path(__file__).parents[1] / "fixtures" / "resnet8-at-cifar10.safetensors"
BUDGET = Budget(ThreatModel("linf", 8 / 255), 10, 2 / 255, "uniform")
IMAGES = 256


def network() -> Classifier:
    model = experiment("cifar10/resnet8/at").build()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


def outcome(model: Classifier, dtype: torch.dtype, images: data.Images, start: int) -> tuple[int, float]:
    """Images still right, and summed cross-entropy, after PGD-10 crafted in `dtype`; fp32 judges."""
    surface, right, loss = freeze(model, dtype), 0, 0.0
    for index in torch.arange(IMAGES).split(128):
        x, y = images.batch(index)
        x_adv = ascend(surface, cross_entropy, x, (y,), budget=BUDGET, noise=IndexNoise(start, index))
        with torch.no_grad():
            logits = model(x_adv)
        right += int((logits.argmax(dim=1) == y).sum())
        loss += cross_entropy(logits, (y,), ()).sum().item()
    return right, loss


@pytest.mark.data
@pytest.mark.slow
def test_bf16_attacks_are_as_strong_as_fp32_ones(real_data: Path) -> None:
    model, images = network(), data.load("cifar10", "test", real_data)
    fp32 = [outcome(model, torch.float32, images, start) for start in range(3)]
    right, loss = outcome(model, torch.bfloat16, images, start=0)
    counts, losses = zip(*fp32, strict=True)
    # One image is what the random start alone may decide.
    assert min(counts) - 1 <= right <= max(counts) + 1
    assert loss == pytest.approx(sum(losses) / 3, rel=2e-3)


@pytest.mark.data
def test_the_fixture_is_a_robust_classifier_of_real_images(real_data: Path) -> None:
    right, _ = outcome(network(), torch.float32, data.load("cifar10", "test", real_data), start=0)
    assert 0.2 < right / IMAGES < 0.4
