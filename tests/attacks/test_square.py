"""Square Attack: the official code's points, the paper's schedule, and rows that do not know of each other."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import record
from advdpnp.attacks.square import Square, SquareState
from advdpnp.attacks.stepwise import ChunkedModel
from advdpnp.noise import IndexNoise
from advdpnp.threat import Norm, distance
from attacks import robust
from reference.batch_generator import BatchGeneratorNoise
from reference.exact import Exact
from reference.official_autoattack import official_each, order

NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
every_norm = pytest.mark.parametrize("norm", NORMS)
# In l1 the squares are those of l2.
squares = pytest.mark.parametrize("norm", NORMS[:2])

# Squares before which the covered share of the image is halved (Andriushchenko et al. 2020, Sec. 5).
HALVED_BEFORE = {10: 2, 50: 4, 200: 8, 500: 16, 1000: 32, 2000: 64, 4000: 128}


def images(n: int, channels: int = 3, size: int = 8, seed: int = 1) -> Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def small_network(channels: int, size: int, classes: int) -> nn.Module:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 8, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2 * size**2, classes)).eval()


def row_by_row(weight: Tensor, bias: float = 0.0) -> Callable[[Tensor], Tensor]:
    """Logits (0, w . x + bias), summed in an order that other rows have no part in."""

    def logits(x: Tensor) -> Tensor:
        value = (x.double() * weight).flatten(1).sum(dim=1) + bias
        return torch.stack([torch.zeros_like(value), value], dim=1)

    return logits


def init(search: Square, x: Tensor, y: Tensor, index: Tensor | None = None, attempt: int = 0) -> SquareState:
    return search.init(x, y, y, attempt, IndexNoise(0, torch.arange(len(x)) if index is None else index))


def run(search: Square, logits: Callable[[Tensor], Tensor], state: SquareState, index: Tensor, queries: int) -> None:
    for _ in range(queries):
        search.step(ChunkedModel(logits), state, IndexNoise(0, index))


def undecided(x: Tensor) -> Tensor:
    return x.new_zeros(len(x), 2)


def assert_official(float32: nn.Module, x: Tensor, y: Tensor, eps: dict[Norm, float], steps: int) -> None:
    model = Exact(float32)
    orders = [order("square", norm, radius, n_queries=steps) for norm, radius in eps.items()]
    for norm, (_, expected) in zip(eps, official_each(model, x, y, orders), strict=True):
        search = Square(eps=eps[norm], norm=norm, steps=steps)
        found = search(model, x, y, noise=BatchGeneratorNoise(0, len(x)))
        fallen = (found != x).flatten(1).any(dim=1)
        assert 0 < fallen.sum() < len(x)
        # A processor may add the sums of l2 in another order where the code asks for them in another way.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels, size, classes", [(3, 8, 2), (1, 28, 10)])
def test_images_that_fall_fall_to_the_point_of_the_official_code(channels: int, size: int, classes: int) -> None:
    model, x = small_network(channels, size, classes), images(24, channels, size)
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    eps: dict[Norm, float] = {"linf": 0.3 / size, "l2": 0.2}
    if size == 8:
        eps["l1"] = 0.6
    assert_official(model, x, y, eps, steps=300)


@pytest.mark.data
@pytest.mark.slow
def test_real_images_fall_to_the_points_of_the_official_code(real_data: Path) -> None:
    assert_official(*robust.cifar10(real_data, 24), {"linf": 8 / 255, "l2": 0.5}, steps=300)
    assert_official(*robust.mnist(real_data, 24), {"linf": 0.3, "l2": 2.0}, steps=300)


def sides(search: Square, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of the squares of all ages, tried on gray images: sides, top rows and left columns, each (length,)."""
    x = torch.full((search.length, 1, size, size), 0.5)
    state = init(search, x, torch.zeros(len(x), dtype=torch.int64))
    state.point, state.age = x, torch.arange(len(x))
    changed = search.step(ChunkedModel(undecided), state, IndexNoise(0, torch.arange(len(x)))).points != x
    rows, columns = changed.any(dim=3).squeeze(1), changed.any(dim=2).squeeze(1)
    assert torch.equal(rows.sum(dim=1), columns.sum(dim=1))
    # Nothing but the one square has changed, and all of it.
    assert torch.equal(changed.sum(dim=(1, 2, 3)), rows.sum(dim=1) ** 2)
    return rows.sum(dim=1), rows.int().argmax(dim=1), columns.int().argmax(dim=1)


@squares
@pytest.mark.parametrize("size", [8, 28, 32])
def test_the_sides_of_the_squares_follow_the_schedule_of_the_paper(norm: Norm, size: int) -> None:
    expected = [0]
    for square in range(5000):
        parts = max((parts for before, parts in HALVED_BEFORE.items() if square > before), default=1)
        side = round((0.8 * size**2 / parts) ** 0.5)
        if norm != "linf":
            side = max(side + (side % 2 == 0), 3)
        expected.append(max(side, 1))
    assert sides(Square(norm=norm), size)[0].tolist() == expected


@squares
def test_squares_lie_everywhere_but_on_the_last_row_and_column(norm: Norm) -> None:
    side, *corners = sides(Square(norm=norm), 32)
    late = torch.arange(5001) > 4000
    for corner in corners:
        room = 32 - int(side[-1])
        counts = corner[late].bincount(minlength=room)
        expected = int(late.sum()) / room
        assert len(counts) == room
        assert (counts - expected).abs().max() < 5 * expected**0.5


@every_norm
def test_signs_are_fair_and_channels_do_not_know_of_each_other(norm: Norm) -> None:
    x = torch.full((4000, 3, 6, 6), 0.5)
    search = Square(norm=norm)
    state = init(search, x, torch.zeros(len(x), dtype=torch.int64))
    state.point, state.age = x, torch.full((len(x),), 3000)
    delta = search.step(ChunkedModel(undecided), state, IndexNoise(0, torch.arange(len(x)))).points - x
    # The place in the square does not matter: where one channel has its peak, so have the others.
    place = delta.abs().sum(dim=1).flatten(1).argmax(dim=1)
    signs = delta.flatten(2).gather(2, place.view(-1, 1, 1).expand(-1, 3, 1)).squeeze(2).sign()
    correlation = signs.T @ signs / len(x)
    assert signs.mean(dim=0).abs().max() < 5 / len(x) ** 0.5
    assert (correlation - torch.eye(3)).abs().max() < 5 / len(x) ** 0.5


def test_the_linf_start_is_vertical_stripes() -> None:
    x = torch.full((50, 3, 8, 8), 0.5)
    delta = init(Square(eps=0.125), x, torch.zeros(50, dtype=torch.int64)).point - x
    assert torch.equal(delta, delta[:, :, :1].expand_as(delta))
    assert torch.equal(delta.abs(), torch.full_like(x, 0.125))
    assert 0.4 < (delta > 0).float().mean() < 0.6


@pytest.mark.parametrize("size", [3, 4, 8, 9, 14, 19, 28, 32])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_start_of_bumps_is_on_the_sphere_for_every_size_of_image(norm: Norm, size: int) -> None:
    x = torch.full((5, 3, size, size), 0.5)
    start = init(Square(eps=0.25, norm=norm), x, torch.zeros(5, dtype=torch.int64)).point
    # In l1 all tiles together are 75 long, and what the projection takes back rounds.
    torch.testing.assert_close(distance(start, x, norm), torch.full((5,), 0.25), rtol=1e-4, atol=0)


@every_norm
def test_the_network_is_asked_about_the_start_first(norm: Norm) -> None:
    search, x, y = Square(norm=norm), images(4), torch.zeros(4, dtype=torch.int64)
    state = init(search, x, y)
    start = state.point.clone()
    # The rows beside it may be of other ages.
    state.age[2:] = 3000
    points = search.step(ChunkedModel(undecided), state, IndexNoise(0, torch.arange(4))).points
    assert torch.equal(points[:2], start[:2])
    assert (points[2:] != start[2:]).flatten(1).any(dim=1).all()


@every_norm
def test_a_row_does_not_know_of_the_rows_beside_it(norm: Norm) -> None:
    search, x, index = Square(eps=0.1, norm=norm), images(12, size=11), torch.arange(12) + 5
    y = torch.arange(12) % 2
    logits = row_by_row(torch.randn(3, 11, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    ages = torch.tensor([0, 3, 45, 190, 480, 990, 1990, 3990, 0, 10, 5, 4970])

    def after(rows: Tensor) -> SquareState:
        state = init(search, x[rows], y[rows], index[rows])
        state.age = ages[rows].clone()
        run(search, logits, state, index[rows], 25)
        return state

    together, order = after(torch.arange(12)), torch.randperm(12, generator=torch.Generator().manual_seed(3))
    shuffled = after(order)
    assert torch.equal(shuffled.point, together.point[order]) and torch.equal(shuffled.loss, together.loss[order])
    for row in range(12):
        alone = after(torch.tensor([row]))
        assert torch.equal(alone.point[0], together.point[row]) and torch.equal(alone.loss[0], together.loss[row])


@every_norm
def test_every_point_asked_about_is_in_the_ball_and_in_the_box(norm: Norm) -> None:
    eps = {"linf": 0.1, "l2": 1.5, "l1": 12.0}[norm]
    x, y = images(8).round(decimals=1), torch.arange(8) % 2
    search, state = Square(eps=eps, norm=norm), init(Square(eps=eps, norm=norm), x, y)
    logits = row_by_row(torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    for _ in range(300):
        points = search.step(ChunkedModel(logits), state, IndexNoise(0, torch.arange(8))).points
        assert points.min() >= 0 and points.max() <= 1
        assert distance(points, x, norm).max() <= eps * (1 + 1e-6)


@every_norm
def test_the_best_point_is_the_best_of_those_asked_about(norm: Norm) -> None:
    search, x, y = Square(norm=norm), images(4), torch.tensor([0, 1, 0, 1])
    logits = row_by_row(torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    state, best = init(search, x, y), torch.full((4,), -torch.inf, dtype=torch.float64)
    for _ in range(50):
        value = logits(search.step(ChunkedModel(logits), state, IndexNoise(0, torch.arange(4))).points)[:, 1]
        best = torch.maximum(best, torch.where(y == 0, value, -value))
        # The state is as fine as the images, which are float32.
        assert torch.equal(state.loss, best.float())
        assert torch.equal(logits(state.point)[:, 1], torch.where(y == 0, best, -best))


def test_linf_on_a_linear_model_takes_all_pixels_to_their_corners_but_the_last_row_and_column() -> None:
    x, y, eps = 0.3 + 0.4 * images(6, channels=1), torch.zeros(6, dtype=torch.int64), 0.1
    weight = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    search, index = Square(eps=eps), torch.arange(6)
    state = init(search, x, y)
    start = state.point.clone()
    run(search, row_by_row(weight), state, index, 2800)
    corner = x + eps * weight.sign().float()
    corner[:, :, -1], corner[:, :, :, -1] = start[:, :, -1], start[:, :, :, -1]
    torch.testing.assert_close(state.point, corner, rtol=0, atol=1e-6)


def test_l2_on_a_linear_model_goes_two_thirds_of_the_way_along_a_smooth_weight() -> None:
    x, y, eps = 0.3 + 0.4 * images(6, channels=1), torch.zeros(6, dtype=torch.int64), 0.5
    # 0 where squares do not go.
    ramp = torch.linspace(1, -1, 7, dtype=torch.float64)
    weight = nn.functional.pad(ramp[:, None] + 0 * ramp, (0, 1, 0, 1))[None]
    search, index = Square(eps=eps, norm="l2"), torch.arange(6)
    state = init(search, x, y)
    logits = row_by_row(weight)
    run(search, logits, state, index, 600)
    gained = (logits(state.point)[:, 1] - logits(x)[:, 1]) / (eps * weight.norm())
    assert gained.min() > 0.65 and gained.max() < 0.75


@every_norm
def test_the_scale_of_the_logits_does_not_matter(norm: Norm) -> None:
    model, x = small_network(3, 8, 4), images(24)
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    search = Square(eps={"linf": 0.03, "l2": 0.2, "l1": 0.8}[norm], norm=norm, steps=100)
    found = search(model, x, y)
    assert (found != x).any()
    for scale in (2.0**10, 2.0**-10):
        assert torch.equal(search(lambda z, scale=scale: scale * model(z), x, y), found)


@every_norm
def test_restarts_begin_and_go_on_differently(norm: Norm) -> None:
    search, x, y = Square(norm=norm, steps=20, restarts=2), images(4, size=32), torch.zeros(4, dtype=torch.int64)
    first, second = (init(search, x, y, attempt=attempt) for attempt in range(2))
    assert (first.point != second.point).flatten(1).any(dim=1).all()
    second.point, first.age, second.age = first.point, first.age + 3, second.age + 3
    noise = IndexNoise(0, torch.arange(4))
    points = [search.step(ChunkedModel(undecided), state, noise).points for state in (first, second)]
    assert (points[0] != points[1]).flatten(1).any(dim=1).all()


def test_a_restart_breaks_images_that_withstood_the_first_search() -> None:
    model, x = small_network(3, 8, 4), images(60)
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    once, twice = (Square(eps=0.02, steps=30, restarts=restarts)(model, x, y) for restarts in (1, 2))
    fallen = (once != x).flatten(1).any(dim=1)
    assert torch.equal(twice[fallen], once[fallen])
    assert (twice[~fallen] != x[~fallen]).any()


@every_norm
def test_radius_zero_changes_nothing(norm: Norm) -> None:
    x, y = images(4), torch.zeros(4, dtype=torch.int64)
    search, state = Square(eps=0, norm=norm), init(Square(eps=0, norm=norm), x, y)
    run(search, undecided, state, torch.arange(4), 20)
    # The projection in l1 takes back what was added, which rounds.
    torch.testing.assert_close(state.point, x, rtol=0, atol=2e-6 if norm == "l1" else 0)


def test_its_record_is_that_of_standard_autoattack() -> None:
    assert record(Square()) == {
        "name": "square",
        "norm": "linf",
        "eps": "8/255",
        "steps": 5000,
        "step_size": None,
        "restarts": 1,
        "random_start": True,
    }


@pytest.mark.parametrize(
    "field, value", [("norm", "l0"), ("eps", 8), ("eps", -0.1), ("steps", 0), ("restarts", 0), ("p_init", 0.0)]
)
def test_fields_that_make_no_sense_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be"):
        Square(**{field: value})
