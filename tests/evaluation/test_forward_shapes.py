"""How many rows go at once changes no bit of any verdict."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from advdpnp.data import Images
from advdpnp.evaluation.forward_shapes import ForwardShapes
from advdpnp.evaluation.single_pass import AttackTarget, chunks_in_flight, search_shapes

SHAPE = (1, 4, 4)


class Forwards(nn.Module):
    """A linear network, exact in float64, that remembers how many rows each forward had."""

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda logits: logits) -> None:
        super().__init__()
        self.change, self.rows = change, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        weight = torch.arange(32.0, dtype=torch.float64).view(2, 16)
        return self.change((x.double().flatten(1)[:, None] * weight).sum(dim=2))


def test_as_many_rows_go_at_once_as_there_are_up_to_the_most_in_whole_chunks() -> None:
    shapes = ForwardShapes(Forwards(), SHAPE, 4, 14)
    assert shapes.most == 12
    assert [shapes(left) for left in (4, 8, 12, 16, 400)] == [4, 8, 12, 12, 12]


@pytest.mark.parametrize(
    "change",
    [
        # By one bit, in the last row of a batch of more than four.
        lambda logits: torch.cat([logits[:-1], logits[-1:] * (1 + 2.0**-52 * (len(logits) > 4))]),
        lambda logits: logits + 1e-9 * torch.rand_like(logits),
        lambda logits: logits - logits.mean(dim=0),
        lambda logits: logits * torch.nan,
    ],
    ids=["another rounding", "random", "the batch's mean", "not a number"],
)
def test_a_network_whose_rows_know_of_the_batch_is_called_by_chunks(change: Callable[[Tensor], Tensor]) -> None:
    shapes = ForwardShapes(Forwards(change), SHAPE, 4, 12)
    assert [shapes(left) for left in (4, 8, 12)] == [4, 4, 4]


def test_a_gradient_that_differs_is_enough() -> None:
    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
            return gradients[0] * (1 + 2.0**-20 * len(gradients[0]))

    assert not ForwardShapes(Forwards(lambda logits: Rounded.apply(logits)), SHAPE, 4, 8).agrees(8)


def test_a_network_without_a_gradient_is_judged_by_its_logits() -> None:
    assert ForwardShapes(Forwards(lambda logits: logits.detach()), SHAPE, 4, 8).agrees(8)


def test_each_number_of_rows_is_tried_once_and_random_numbers_go_on_as_they_were() -> None:
    network = Forwards(lambda logits: logits + 0 * torch.rand(1))
    shapes = ForwardShapes(network, SHAPE, 4, 12)
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    assert shapes(4) == 4 and network.rows == []
    assert [shapes(8), shapes(12), shapes(8), shapes(12)] == [8, 12, 8, 12]
    # Three chunks, then each number, without and with a graph.
    assert network.rows == [4] * 6 + [8, 8] + [12, 12]
    assert torch.equal(torch.rand(3), wanted)


def target(network: nn.Module, *image_shape: int) -> AttackTarget:
    images = Images(torch.zeros((1, *image_shape), dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    return AttackTarget(network, network, images, torch.arange(1), 0)


def test_small_networks_get_chunks_of_sixteen_and_more_rows_at_once_and_others_what_their_images_fit() -> None:
    for image_shape, most in (((1, 8, 8), 256), ((1, 28, 28), 240), ((3, 32, 32), 64), ((3, 64, 64), 16)):
        chunk, shapes = search_shapes(target(Sums(), *image_shape))
        assert shapes is not None and shapes.most == most and chunk == min(16, most // 4)
        assert chunks_in_flight(chunk, 0, shapes) * chunk == most
        assert chunks_in_flight(chunk, 32, shapes) * chunk == 32
    assert search_shapes(target(Sums(lambda logits: logits - logits.mean(dim=0)), 1, 8, 8)) == (64, None)
    large = Sums()
    large.weight = nn.Parameter(torch.zeros(2**21 + 1))
    assert search_shapes(target(large, 1, 8, 8)) == (64, None)


class Sums(nn.Module):
    """Two logits of images of any shape: their sum, and 0."""

    def __init__(self, change: Callable[[Tensor], Tensor] = lambda logits: logits) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        # Whole numbers, whose sums have no rounding.
        total = (x.double() * 2**24).round().flatten(1).sum(dim=1)
        return self.change(torch.stack([total, torch.zeros_like(total)], dim=1) / 2**24)
