"""What Square Attack does not ask again: every iteration is that of a search that asks about everything."""

import pytest
import torch
from torch import Tensor

from advdpnp.attacks.square import Square, SquareState
from advdpnp.attacks.stepwise import ChunkedModel, Queries, succeeds
from advdpnp.noise import AheadNoise, IndexNoise

CHUNK = 4


class Network:
    """Three logits of each image, exact, and how many rows it was asked about."""

    def __init__(self, pixels: int) -> None:
        self.weight = torch.randint(-8, 9, (3, pixels), generator=torch.Generator().manual_seed(0)).double()
        self.rows = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return ((x.double().flatten(1)[:, None] * 2**16).round() * self.weight).sum(dim=2)


def init(search: Square, x: Tensor, y: Tensor, target: Tensor) -> SquareState:
    # Copies, since rows are written over; the last row is of a later attempt.
    state = search.init(x.clone(), y.clone(), target.clone(), 0, IndexNoise(0, torch.arange(len(x))))
    last = torch.tensor([len(x) - 1])
    state.put(last, search.init(x[last], y[last], target[last], 1, IndexNoise(0, last)))
    return state


def compare(search: Square, shape: tuple[int, ...], steps: int) -> tuple[int, int]:
    """Rows that a search asks about, and one that asks about everything, which finds the same at every step."""
    x = torch.randint(0, 17, (8, *shape), generator=torch.Generator().manual_seed(1)) / 16.0
    asks, always = Network(x[0].numel()), Network(x[0].numel())
    y = always(x).argmax(dim=1)
    always.rows, target, index = 0, (y + 1) % 3, torch.arange(8)
    state, plain = init(search, x, y, target), init(search, x, y, target)
    network, among = ChunkedModel(asks, CHUNK, lambda left: left), torch.ones(8, dtype=torch.bool)
    ahead = AheadNoise(0, index)
    for step in range(steps):
        # Rows need not be of one age.
        if step == 5:
            for rows in (state, plain):
                rows.put(torch.tensor([2]), init(search, x, y, target).take(torch.tensor([2])))
        seen: Queries = search.step(network, state, ahead)
        whole = search.step(ChunkedModel(always, CHUNK), plain, IndexNoise(0, index))
        assert torch.equal(state.point, plain.point) and torch.equal(state.loss, plain.loss)
        assert torch.equal(state.age, plain.age)
        found, wanted = succeeds(search, state, seen, among), succeeds(search, plain, whole, among)
        # A point that was a success when it was asked about has ended its attempt.
        assert torch.equal(found, wanted & among) and torch.equal(seen.points[found], whole.points[found])
        among &= ~wanted
    assert 0 < among.sum() < 8
    return asks.rows, always.rows


@pytest.mark.parametrize("target", [None, 0])
def test_on_small_images_most_squares_are_not_asked_about_and_nothing_else_changes(target: int | None) -> None:
    asked, all_rows = compare(Square(eps=0.05, steps=700, target=target), (1, 6, 6), 700)
    assert asked < all_rows / 2


def test_two_channels_have_four_squares_of_a_place() -> None:
    asked, all_rows = compare(Square(eps=0.05, steps=300), (2, 5, 7), 300)
    assert asked < all_rows


@pytest.mark.parametrize("search, shape", [
    (Square(eps=0.4, norm="l2", steps=20), (1, 6, 6)),
    (Square(eps=2.0, norm="l1", steps=20), (1, 6, 6)),
    (Square(eps=0.01, steps=20), (3, 32, 32)),
], ids=["l2", "l1", "too many squares"])  # fmt: skip
def test_other_searches_ask_about_every_square(search: Square, shape: tuple[int, ...]) -> None:
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(1))
    asks, y = Network(x[0].numel()), torch.zeros(4, dtype=torch.int64)
    state = search.init(x, y, y, 0, IndexNoise(0, torch.arange(4)))
    assert state.tried.shape == (4, 0)
    for _ in range(20):
        assert search.step(ChunkedModel(asks, CHUNK, lambda left: left), state, IndexNoise(0, y)).asked is None
    assert asks.rows == 80


def test_a_network_that_may_answer_otherwise_is_asked_every_time() -> None:
    x, asks = torch.rand(4, 1, 6, 6), Network(36)
    y, search = torch.zeros(4, dtype=torch.int64), Square(eps=0.05, steps=50)
    state = search.init(x, y, y, 0, IndexNoise(0, torch.arange(4)))
    for _ in range(50):
        search.step(ChunkedModel(asks, CHUNK), state, IndexNoise(0, y))
    assert asks.rows == 200
