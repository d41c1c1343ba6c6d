"""Trained networks from which the zoo is built; `python tests/auditing/train_bases.py` trains and writes them.

All read 8x8 digits, but for that of MNIST. Weights are stored in half precision and used in float32.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from advdpnp import data
from advdpnp.experiments import experiment
from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.heads import LinearHead

FIXTURES = Path(__file__).parents[1] / "fixtures"
PIXELS = 64


class Layers(Backbone):
    """A backbone that is a list of layers."""

    def __init__(self, features: int, *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.features = nn.Sequential(*layers), features

    def forward(self, x: Tensor) -> Tensor:
        embedding: Tensor = self.layers(x)
        return embedding


class Scaled(nn.Module):
    """A tensor times a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class SortedPairs(nn.Module):
    """(B, 2 D): each pair of neighbors in order, which keeps distances (Anil et al. 2019, GroupSort of 2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).sort(dim=2).values.flatten(1)


class WinnersTakeAll(nn.Module):
    """All but the largest tenth of the activations of an image are 0 (Xiao et al. 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        least = flat.topk(max(1, flat.shape[1] // 10), dim=1).values[:, -1:]
        return (flat * (flat >= least)).view_as(x)


def small_cnn(activation: Callable[[], nn.Module] = nn.ReLU) -> Layers:
    return Layers(
        32, nn.Conv2d(1, 8, 3, padding=1), activation(), nn.Conv2d(8, 16, 3, stride=2, padding=1), activation(),
        nn.Flatten(), nn.Linear(256, 32), activation(),
    )  # fmt: skip


def mlp() -> Layers:
    return Layers(32, nn.Flatten(), nn.Linear(PIXELS, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU())


def deep_narrow() -> Layers:
    wide = [nn.Flatten(), nn.Linear(PIXELS, 24), nn.ReLU()]
    return Layers(24, *wide, *(layer for _ in range(6) for layer in (nn.Linear(24, 24), nn.BatchNorm1d(24), nn.ReLU())))


def only_pooled() -> Layers:
    """Averages of 2x2 pixels, and layers on them."""
    return Layers(32, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU())


def lipschitz() -> Layers:
    """1-Lipschitz in l2: orthogonal matrices and sorted pairs, then a scale that the softmax of training needs."""
    layers = [nn.Flatten(), nn.Linear(PIXELS, PIXELS), SortedPairs(), nn.Linear(PIXELS, 32), SortedPairs(), Scaled(4.0)]
    return Layers(32, *layers)


def max_pooled() -> Layers:
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    return Layers(
        32, *layers, nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 32)
    )


def classifier(backbone: Backbone, classes: int = 10) -> Classifier:
    return Classifier(backbone, LinearHead(backbone.features, classes))


def tiny(defense: str) -> Callable[[], Classifier]:
    return lambda: experiment(f"digits/tiny/{defense}").build()


# Name of the weights: the network they belong to.
NETWORKS: dict[str, Callable[[], Classifier]] = {
    "at": tiny("at"),
    "standard": tiny("st"),
    "trades": lambda: classifier(small_cnn()),
    "adv-dpnp": lambda: experiment("digits/tiny/adv-dpnp").defense.build(small_cnn(), 10),
    "cosine": lambda: experiment("digits/tiny/at-he").defense.build(small_cnn(), 10),
    "winners": lambda: classifier(small_cnn(WinnersTakeAll)),
    "overfit": tiny("at"),
    "cnn": lambda: classifier(small_cnn()),
    "standard-cnn": lambda: classifier(small_cnn()),
    "gelu": lambda: classifier(small_cnn(nn.GELU)),
    "swish": lambda: classifier(small_cnn(nn.SiLU)),
    "tanh": lambda: classifier(small_cnn(nn.Tanh)),
    "maxpool": lambda: classifier(max_pooled()),
    "l2": lambda: classifier(small_cnn()),
    "mlp": lambda: classifier(mlp()),
    "noisy-labels": lambda: classifier(mlp()),
    "deep-narrow": lambda: classifier(deep_narrow()),
    "only-pooled": lambda: classifier(only_pooled()),
    "linear": lambda: classifier(Layers(PIXELS, nn.Flatten())),
    "lipschitz": lambda: classifier(lipschitz()),
    "binary": lambda: classifier(mlp(), 2),
    "mnist": lambda: experiment("mnist/resnet8/at").build(),
}
# Weights that other tests have too.
_SHARED = {"at": "tiny-at-digits", "mnist": "resnet8-at-mnist"}


def weights_path(name: str) -> Path:
    return FIXTURES / f"{_SHARED.get(name, f'audit-{name}')}.safetensors"


@cache
def _weights(name: str) -> dict[str, Tensor]:
    return {
        key: value.float() if value.is_floating_point() else value
        for key, value in load_file(weights_path(name)).items()
    }


def base(name: str) -> Classifier:
    """A fresh network in eval mode, with its trained weights."""
    model = NETWORKS[name]()
    model.load_state_dict(_weights(name))
    return model.eval()


@cache
def digits(n: int) -> tuple[Tensor, Tensor]:
    """The first n test images (n, 1, 8, 8) and labels (n,)."""
    return data.load("digits", "test").batch(torch.arange(n))


def parity(y: Tensor) -> Tensor:
    """Labels of `binary`: whether a digit is odd."""
    return y % 2


def images(name: str, n: int) -> tuple[Tensor, Tensor]:
    """The first n test images that a network is for, and labels; MNIST is read from $ADVDPNP_DATA."""
    if name == "mnist":
        return data.load("mnist", "test", os.environ["ADVDPNP_DATA"]).batch(torch.arange(n))
    x, y = digits(n)
    return x, parity(y) if name == "binary" else y
