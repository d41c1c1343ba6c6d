import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import cross_entropy

from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.heads import LinearHead
from advdpnp.models.small import Tiny, Tiny2D


def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)


@pytest.mark.parametrize(("kind", "at_least"), [(Tiny, 0.9), (Tiny2D, 0.7)])
def test_it_learns_the_digits_in_seconds(kind: type[Backbone], at_least: float) -> None:
    x, y = digits()
    torch.manual_seed(0)
    backbone = kind((8, 8), channels=1)
    model = Classifier(backbone, LinearHead(backbone.features, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(6):
        for rows in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    accuracy = (model.eval()(x[1400:]).argmax(1) == y[1400:]).float().mean()
    assert accuracy >= at_least


def test_the_embedding_of_tiny_is_not_negative() -> None:
    embedding = Tiny((8, 8), channels=1)(torch.rand(16, 1, 8, 8))
    assert embedding.shape == (16, 64)
    assert embedding.min() == 0


def test_the_embedding_of_tiny_2d_reaches_every_quadrant() -> None:
    torch.manual_seed(0)
    embedding = Tiny2D((8, 8), channels=1)(torch.rand(256, 1, 8, 8))
    assert embedding.shape == (256, 2)
    assert len(torch.unique(embedding > 0, dim=0)) == 4


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (28, 28)])
def test_the_linear_layer_fits_the_image(size: tuple[int, int]) -> None:
    assert Tiny(size).eval()(torch.rand(1, 3, *size)).shape == (1, 64)
