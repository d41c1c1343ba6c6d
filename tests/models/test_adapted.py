"""Any classifier as a backbone."""

import pytest
import torch
from torch import Tensor, nn

from advdpnp.models.adapted import adapt, answer_layer, stop_dropping

SHAPE = (3, 6, 6)


class Net(nn.Module):
    """Two linear layers, of which the second answers; between them what draws at random in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(108, 8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.first(x.flatten(1))))


def test_the_answer_layer_on_the_features_gives_the_logits_of_the_normalized_images() -> None:
    network, x = Net().eval(), torch.rand(4, *SHAPE)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    shift, scale = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    logits = network((x - shift) / scale)
    backbone, answer = adapt(network, SHAPE, mean, std)
    assert backbone.features == 8 and answer.out_features == 5
    assert torch.equal(answer(backbone(x)), logits)
    # Normalization is no part of the weights.
    assert set(backbone.state_dict()) == {"network.first.weight", "network.first.bias"}


def test_nothing_draws_at_random_any_more() -> None:
    network, x = Net().train(), torch.rand(64, *SHAPE)
    assert not torch.equal(network(x), network(x))
    backbone, _ = adapt(network, SHAPE)
    assert torch.equal(backbone(x), backbone(x))


def test_probabilities_of_other_libraries_are_set_to_zero_and_other_numbers_stay() -> None:
    class StochasticDepth(nn.Identity):
        p = 0.0

    path, pooling = StochasticDepth(), nn.Identity()
    path.p, pooling.p, pooling.drop_prob = 0.2, 3.0, 0.1  # type: ignore[assignment]
    assert stop_dropping(nn.Sequential(path, pooling))
    assert (path.p, pooling.p, pooling.drop_prob) == (0.0, 3.0, 0.0)
    assert not stop_dropping(nn.Sequential(path, pooling))


def test_it_is_the_layer_that_gives_the_logits_and_not_the_last_one_that_is_defined() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.answer, self.spare = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            self.spare(x.mean((2, 3)))
            return self.answer(x.mean((2, 3)))

    network = Odd().train()
    assert answer_layer(network, SHAPE) == "answer" and network.training


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(108, 5), nn.Softmax(1)), SHAPE, "no linear layer that gives its logits"),
        (nn.Linear(6, 5), SHAPE, "no linear layer that gives its logits"),
        (Net(), (3, 9, 9), "does not take images of 3x9x9 .RuntimeError: mat1 and mat2"),
    ],
)
def test_what_is_no_backbone_is_said(network: nn.Module, shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapt(network, shape)


def test_a_normalization_has_a_number_for_each_channel() -> None:
    with pytest.raises(ValueError, match="one number, or 3, one for each channel; got 2, 2"):
        adapt(Net(), SHAPE, (0.5, 0.5), (0.5, 0.5))


class Aided(nn.Module):
    """As torchvision's GoogLeNet, it answers with a pair in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.aux1, self.aux_logits = nn.Linear(3, 4), nn.Linear(3, 4), True

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        means = x.mean((2, 3))
        return (self.fc(means), self.aux1(means)) if self.training and self.aux_logits else self.fc(means)


def test_auxiliary_classifiers_are_left_out_and_other_pairs_are_refused() -> None:
    backbone, _ = adapt(Aided(), SHAPE)
    assert backbone.train()(torch.rand(2, *SHAPE)).shape == (2, 3)
    assert not list(backbone.parameters())
    backbone.network.aux_logits, backbone.network.aux1 = True, nn.Linear(3, 4)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="gives a tuple, not a tensor, in training mode"):
        backbone(torch.rand(2, *SHAPE))
