"""Networks and images that attacks and training steps are timed on: synthetic, and a training of a few steps."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from advdpnp import noise
from advdpnp.bench.ceilings import network_ceiling
from advdpnp.bench.variants import BenchModel, noisy_templates, started
from advdpnp.experiments import experiment
from advdpnp.models.folding import fold_batchnorm
from advdpnp.runs import Json
from advdpnp.training import Task

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

# A class is a pattern of 4x4 patches, which a network learns in few steps, and whose contrast a radius of 8/255 can
# break here and there.
_PATCHES, _CONTRAST = 4, 112.0
_IMAGES, _BATCH, _ATTACK_STEPS = 1024, 16, 2


def settled(
    backbone: str, defense: str, batch: int, steps: int, training_steps: int, smoothing: float = 0
) -> BenchModel:
    """A network of CIFAR-10's shape, trained on synthetic images for some steps, and the first `batch` of these.

    Args:
        backbone: name.
        defense: method that builds it and whose steps train it.
        batch: images.
        steps: iterations of the attack that is timed; the shorter one of this training has two.
        training_steps: of 16 images each.
        smoothing: of the labels in this training; without it a network is sure of such images.
    """
    settings = [f"recipe.batch_size={batch}", f"recipe.attack.steps={steps}", "recipe.lr=0.05"]
    # Libraries get the images as they are, so ours does too.
    settings += ["recipe.augmentation.padding=0", "recipe.augmentation.flip=false"]
    wanted = experiment(f"cifar10/{backbone}/{defense}", "paper", settings=settings)
    attack = wanted.recipe.attack
    short = replace(attack, steps=_ATTACK_STEPS, step_size=1.25 * attack.eps / _ATTACK_STEPS)
    images = noisy_templates(_IMAGES, _templates(wanted.data.image_shape, wanted.data.num_classes), CPU)
    recipe = replace(wanted.recipe, attack=short, batch_size=_BATCH, label_smoothing=smoothing)
    training = started(Task(wanted.build(), wanted.defense, recipe, images, None, 0))
    order = torch.arange(len(images))
    for step in range(training_steps):
        training.step = step % (len(images) // _BATCH)
        training.advance(order)
    model = training.task.model
    wanted.defense.between_epochs(model, 1)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return BenchModel(wanted, model.eval(), images.select(torch.arange(batch)))


def ceilings(subject: BenchModel, precisions: Sequence[str]) -> dict[str, Json]:
    """What each precision may be held to: the best of matrix products and of the network's own convolutions."""
    found = {}
    for precision in precisions:
        folded = fold_batchnorm(subject.model, DTYPES[precision])
        found[precision] = network_ceiling(folded, subject.x, DTYPES[precision])
    return found


def _templates(shape: tuple[int, ...], classes: int) -> Tensor:
    channels, height, width = shape
    coarse = noise.uniform(0, "bench/patches", 0, torch.arange(classes), (channels, _PATCHES, _PATCHES))
    whole = coarse.repeat_interleave(height // _PATCHES, 2).repeat_interleave(width // _PATCHES, 3)
    return 128 + _CONTRAST * (whole - 0.5)
