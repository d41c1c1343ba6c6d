"""Small adversarially trained networks on real images, of which attacks break some and not others.

The weights in tests/fixtures are the last ones of the commands in the docstrings, with the data under $ADVDPNP_DATA.
Each function returns (model in eval mode, x, y): the network and the first n test images.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from advdpnp import data
from advdpnp.experiments import experiment
from advdpnp.models.classifier import Classifier
from advdpnp.models.heads import LinearHead
from reference.exact import Exact

FIXTURES = Path(__file__).parents[1] / "fixtures"

# Radii at which every attack breaks some of the first images and not others.
EPS = {
    "digits": {"linf": 0.1, "l2": 0.5},
    "mnist": {"linf": 0.3, "l2": 2.0},
    "cifar10": {"linf": 8 / 255, "l2": 0.5},
    "cifar100": {"linf": 8 / 255, "l2": 0.5},
}

AttackTarget = tuple[nn.Module, Tensor, Tensor]


def exact(subject: AttackTarget) -> AttackTarget:
    """The same, with a network whose answers do not depend on the processor."""
    model, x, y = subject
    return Exact(model), x, y


def digits(n: int, classes: int = 10) -> AttackTarget:
    """The 8x8 digits, which need no files; of fewer classes, the first ones of the same network and their images.

    `advdpnp train digits/tiny/at --recipe paper --set recipe.epochs=3 --threads 1`
    """
    model, images = network("digits/tiny/at", "tiny-at-digits"), data.load("digits", "test")
    keep_classes(model.head, classes)
    return model, *images.batch((images.labels < classes).nonzero().squeeze(1)[:n])


def mnist(root: Path, n: int) -> AttackTarget:
    """MNIST; its usual training attack has 40 steps.

    `advdpnp train mnist/resnet8/at --recipe paper --set recipe.train_images=4000 --set recipe.epochs=8
    --set recipe.lr=0.05 --set recipe.attack.steps=10 --set recipe.attack.step_size=0.05 --threads 1`
    """
    return network("mnist/resnet8/at", "resnet8-at-mnist"), *first("mnist", root, n)


def cifar10(root: Path, n: int) -> AttackTarget:
    """CIFAR-10; the network of `test_low_precision`, which has the command."""
    return network("cifar10/resnet8/at", "resnet8-at-cifar10"), *first("cifar10", root, n)


def cifar100(root: Path, n: int) -> AttackTarget:
    """CIFAR-100; a tenth of the images is classified correctly, and about half of that withstands attacks.

    `advdpnp train cifar100/resnet8/at --recipe paper --set recipe.train_images=5000 --set recipe.epochs=12 --threads 1`
    """
    return network("cifar100/resnet8/at", "resnet8-at-cifar100"), *first("cifar100", root, n)


def network(name: str, fixture: str) -> Classifier:
    model = experiment(name).build()
    model.load_state_dict(load_file(FIXTURES / f"{fixture}.safetensors"))
    return model.eval()


def keep_classes(head: nn.Module, classes: int) -> None:
    """Cut the head down to the rows of the first classes, in place."""
    assert isinstance(head, LinearHead)
    head.linear.weight = nn.Parameter(head.linear.weight[:classes].detach().clone())
    head.linear.bias = nn.Parameter(head.linear.bias[:classes].detach().clone())


def first(name: str, root: Path, n: int) -> tuple[Tensor, Tensor]:
    return data.load(name, "test", root).batch(torch.arange(n))


REAL = {"mnist": mnist, "cifar10": cifar10, "cifar100": cifar100}
