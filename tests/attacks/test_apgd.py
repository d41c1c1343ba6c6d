"""Auto-PGD: the official code's points, the papers' step sizes, and rows that do not know of each other."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import record
from advdpnp.attacks.apgd import APGDCE, APGDDLR, APGDT, dlr, targeted_dlr
from advdpnp.attacks.apgd_step import APGDState
from advdpnp.attacks.attack import Logits
from advdpnp.attacks.stepwise import ChunkedModel, Queries, ranked_targets, targets, within
from advdpnp.losses import margin
from advdpnp.noise import IndexNoise, Noise
from advdpnp.threat import Norm, distance
from attacks import robust
from attacks.linear import LinearClassifier, two_classes
from reference import apgd as reference
from reference.attacks import linear_optimum
from reference.batch_generator import BatchGeneratorNoise
from reference.exact import Exact
from reference.official_autoattack import official_each, order

AutoPGD = APGDCE | APGDDLR | APGDT
KINDS: tuple[type[AutoPGD], ...] = (APGDCE, APGDDLR, APGDT)
EPS: dict[Norm, float] = {"linf": 0.1, "l2": 0.6, "l1": 1.5}


def searches(**fields: Any) -> list[AutoPGD]:
    """Every loss in every norm, and in l1 with phases too."""
    ways = [{"norm": norm} for norm in EPS] + [{"norm": "l1", "multi_eps": True}]
    return [kind(eps=EPS[way["norm"]], **way, **fields) for kind in KINDS for way in ways]


def name_of(search: AutoPGD) -> str:
    return f"{search.name}-{search.norm}" + "-phases" * search.multi_eps


every_search = pytest.mark.parametrize("search", searches(steps=20), ids=name_of)


def images(n: int, seed: int = 1) -> Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def row_by_row(x: Tensor) -> Tensor:
    """Quadratic logits of 5 classes, computed in an order that other rows have no part in: (B, 1, 4, 4) -> (B, 5)."""
    weight = torch.randn(2, 5, 1, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    first, second = ((x.double()[:, None] * w).flatten(2).sum(dim=2) for w in weight)
    return first + second * second


def init(search: AutoPGD, logits_fn: Logits, x: Tensor, y: Tensor, noise: Noise) -> APGDState:
    target = targets(search, 0, ranked_targets(logits_fn(x).detach(), y), y)
    return search.init(x, y, target, 0, noise)


def step(search: AutoPGD, logits_fn: Logits, state: APGDState, iterations: int) -> list[Queries]:
    noise = IndexNoise(0, torch.arange(len(state.x)))
    return [search.step(ChunkedModel(logits_fn), state, noise) for _ in range(iterations)]


def ascend(search: AutoPGD, logits_fn: Logits, x: Tensor, y: Tensor) -> tuple[APGDState, list[Queries]]:
    """One attempt from beginning to end."""
    state = init(search, logits_fn, x, y, IndexNoise(0, torch.arange(len(x))))
    return state, step(search, logits_fn, state, search.length)


# The official code.


def official_order(search: AutoPGD) -> dict[str, Any]:
    budget = {"n_iter": search.steps, "n_restarts": search.restarts, "use_largereps": search.multi_eps}
    if isinstance(search, APGDT):
        budget["n_target_classes"] = search.targets
    return order(search.name, search.norm, search.eps, **budget)


def replay(search: AutoPGD, x: Tensor) -> BatchGeneratorNoise:
    return BatchGeneratorNoise(0, len(x), unused_starts=3 * search.multi_eps)


def last_adversarial(search: AutoPGD, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """What the official code hands out of one attempt: the last misclassified point at the full radius, or the image.

    It is to be clamped there: its l1 points leave the box by a rounding.
    """
    state, result = init(search, model, x, y, replay(search, x)), x.clone()
    at_full_radius = 9 if search.multi_eps else 21
    for seen in step(search, model, state, search.length)[-at_full_radius:]:
        found = seen.logits.argmax(dim=1) != y
        result[found] = seen.points[found]
    return result


def test_points_are_those_of_the_official_code() -> None:
    model, x, y = robust.exact(robust.digits(24))
    right = model(x).argmax(dim=1) == y
    x, y = x[right], y[right]
    wanted = [replace(s, targets=1) if isinstance(s, APGDT) else s for s in searches(steps=20)]
    verdicts = set()
    for search, (left, expected) in zip(wanted, official_each(model, x, y, [official_order(s) for s in wanted])):
        # The same sums; a processor may add them in another order where the code asks for them in another way.
        found = last_adversarial(search, model, x, y)
        torch.testing.assert_close(found, expected.clamp(0, 1), rtol=0, atol=1e-6, msg=name_of(search))
        verdicts |= set(left.tolist())
    assert verdicts == {True, False}


def assert_verdicts_are_official(float32: nn.Module, x: Tensor, y: Tensor, wanted: list[AutoPGD]) -> None:
    model, verdicts = Exact(float32), []
    for search, (expected, _) in zip(wanted, official_each(model, x, y, [official_order(s) for s in wanted])):
        found = model(search(model, x, y, noise=replay(search, x))).argmax(dim=1) == y
        assert torch.equal(found, expected), name_of(search)
        verdicts += found.tolist()
    assert set(verdicts) == {True, False}


@pytest.mark.slow
def test_verdicts_after_restarts_and_targets_are_the_official_ones() -> None:
    wanted = [replace(s, targets=3) if isinstance(s, APGDT) else s for s in searches(steps=20, restarts=2)]
    assert_verdicts_are_official(*robust.digits(32), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_verdicts_are_the_official_ones_with_few_classes(classes: int) -> None:
    # Where the official code has no such loss it fails.
    defined = [s for s in searches(steps=20) if not s.note(classes)]
    wanted = [replace(s, targets=classes - 1) if isinstance(s, APGDT) else s for s in defined]
    assert_verdicts_are_official(*robust.digits(24, classes), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 1000])
def test_verdicts_are_the_official_ones_with_a_hundred_classes_and_logits_of_any_scale(scale: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 100)).eval()
    model[-1].weight.data *= scale
    model[-1].bias.data *= scale
    x = images(24)
    wanted = [replace(s, eps=s.eps / 8) for s in searches(steps=20)]
    y = model(x).argmax(dim=1)
    assert_verdicts_are_official(model, x, y, wanted)


# The papers.


def test_the_checks_are_where_the_paper_has_them() -> None:
    assert reference.checkpoints(100) == reference.paper_checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps, rho", [(100, 0.75), (30, 0.75), (30, 0.3), (7, 0.75), (1, 0.75)])
def test_points_and_step_sizes_are_those_of_algorithm_1(norm: Norm, steps: int, rho: float) -> None:
    x = images(4).double()
    y = row_by_row(x).argmax(dim=1)
    search = APGDCE(eps=EPS[norm], norm=norm, steps=steps, rho=rho)
    state = init(search, row_by_row, x, y, IndexNoise(0, torch.arange(4)))
    start, found = state.point.clone(), []
    for _ in range(search.length):
        (seen,) = step(search, row_by_row, state, 1)
        found.append((seen.points, state.step_size))
    for i in range(len(x)):
        trace = reference.auto_pgd(objective(y[i]), flat(x[i]), norm, search.eps, steps, rho, flat(start[i]))
        for (points, step_sizes), expected in zip(found, trace, strict=True):
            np.testing.assert_allclose(flat(points[i]), expected.point, rtol=0, atol=1e-9)
            assert step_sizes[i].item() == pytest.approx(expected.step_size, rel=1e-12)
    assert steps < 30 or (found[-1][1] < 2 * search.eps).all()


def flat(v: Tensor) -> reference.Array:
    return np.asarray(v.flatten().numpy())


def objective(y: Tensor) -> reference.Objective:
    """Cross-entropy of the quadratic logits of one image."""

    def loss_and_gradient(x: reference.Array) -> tuple[float, reference.Array]:
        point = torch.from_numpy(x).view(1, 1, 4, 4).requires_grad_()
        loss = torch.nn.functional.cross_entropy(row_by_row(point), y[None])
        (gradient,) = torch.autograd.grad(loss, point)
        return loss.item(), flat(gradient)

    return loss_and_gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", EPS)
def test_on_a_linear_classifier_the_strongest_perturbation_is_found(kind: type[AutoPGD], norm: Norm) -> None:
    model, x = two_classes(16), 0.3 + 0.4 * images(20).double()
    np.testing.assert_allclose(shares_of_the_optimum(kind(eps=EPS[norm], norm=norm), model, x), 1, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", EPS)
def test_where_pixels_touch_the_box_nearly_the_strongest_is_found(kind: type[AutoPGD], norm: Norm) -> None:
    # A cut after the projection, and steps of no fewer pixels than the best point suggests, miss the last percents.
    model, x = two_classes(16), images(20).double()
    assert min(shares_of_the_optimum(kind(eps=EPS[norm], norm=norm), model, x)) > 0.97


def shares_of_the_optimum(search: AutoPGD, model: LinearClassifier, x: Tensor) -> list[float]:
    """How far each image went of the way that the best perturbation goes."""
    y = model(x).argmax(dim=1)
    state, _ = ascend(search, model, x, y)
    w, shares = (model.weight[1] - model.weight[0]).detach().numpy(), []
    for image, label, found in zip(x, y, state.best_point, strict=True):
        towards = w if label == 0 else -w
        best = linear_optimum(towards, flat(image), search.norm, EPS[search.norm])
        shares.append(towards @ (flat(found) - flat(image)) / (towards @ (best - flat(image))))
    return shares


def test_dlr_is_the_margin_in_units_of_the_logits_spread() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, 0.0], [1.0, 5.0, 2.0, 0.0]])
    y, target = torch.tensor([0, 0]), torch.tensor([1, 3])
    assert dlr(logits, y).tolist() == pytest.approx([-1 / 3, 4 / 4])
    assert targeted_dlr(logits, y, target).tolist() == pytest.approx([-3 / 3.5, -1 / 4.5])
    torch.testing.assert_close(dlr(1000 * logits + 7, y), dlr(logits, y))
    torch.testing.assert_close(targeted_dlr(1000 * logits + 7, y, target), targeted_dlr(logits, y, target))


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_where_dlr_is_undefined_its_numerator_stands_in_and_the_search_says_so(classes: int) -> None:
    logits = torch.randn(6, classes, generator=torch.Generator().manual_seed(0))
    y, target = torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.int64)
    lead = logits[:, 1] - logits[:, 0]
    assert torch.equal(dlr(logits, y), margin(logits, y)) == bool(APGDDLR().note(classes)) == (classes < 3)
    assert torch.equal(targeted_dlr(logits, y, target), lead) == ("margin" in APGDT().note(classes)) == (classes < 4)
    assert not APGDCE().note(classes)


@pytest.mark.parametrize("kind", [APGDDLR, APGDT])
def test_dlr_attacks_take_the_same_path_whatever_the_scale_of_the_logits(kind: type[AutoPGD]) -> None:
    # A power of two, which rounds nothing.
    x = images(8)
    y = row_by_row(x).argmax(dim=1)
    paths = [ascend(kind(eps=0.1), lambda x, by=by: row_by_row(x).float() * by, x, y)[1] for by in (1, 1024)]
    assert all(torch.equal(a.points, b.points) for a, b in zip(*paths, strict=True))


# Rows.


def same(a: APGDState, b: APGDState) -> bool:
    return all(torch.equal(value, vars(b)[name]) for name, value in vars(a).items())


@every_search
def test_a_row_is_bitwise_the_same_alone_and_among_others(search: AutoPGD) -> None:
    x = images(6)
    y = row_by_row(x).argmax(dim=1)
    together = init(search, row_by_row, x, y, IndexNoise(0, torch.arange(6)))
    step(search, row_by_row, together, search.length)
    for rows in (torch.tensor([2]), torch.tensor([5, 0, 3])):
        apart = init(search, row_by_row, x[rows], y[rows], IndexNoise(0, rows))
        step(search, row_by_row, apart, search.length)
        assert same(apart, together.take(rows))


@every_search
def test_a_row_is_bitwise_the_same_beside_rows_of_other_ages(search: AutoPGD) -> None:
    x, young = images(6), torch.tensor([1, 4])
    y = row_by_row(x).argmax(dim=1)
    mixed = init(search, row_by_row, x, y, IndexNoise(0, torch.arange(6)))
    step(search, row_by_row, mixed, 6)
    mixed.put(young, init(search, row_by_row, x[young], y[young], IndexNoise(0, young)))
    step(search, row_by_row, mixed, 9)
    even = init(search, row_by_row, x, y, IndexNoise(0, torch.arange(6)))
    step(search, row_by_row, even, 9)
    assert same(mixed.take(young), even.take(young))
    step(search, row_by_row, even, 6)
    old = torch.tensor([0, 2, 3, 5])
    assert same(mixed.take(old), even.take(old))
    assert mixed.age.tolist() == [15, 9, 15, 15, 9, 15]


@every_search
def test_all_points_are_in_the_box_and_those_of_the_last_phase_in_the_ball(search: AutoPGD) -> None:
    x = images(6)
    y = row_by_row(x).argmax(dim=1)
    _, path = ascend(search, row_by_row, x, y)
    assert all(seen.points.min() >= 0 and seen.points.max() <= 1 for seen in path)
    assert all(within(seen.points, x, search.norm, search.eps).all() for seen in path[-9:])
    assert all(torch.equal(seen.logits, row_by_row(seen.points)) for seen in path)


def test_phases_search_at_three_and_two_radii_first() -> None:
    search = APGDCE(eps=0.5, norm="l1", steps=20, multi_eps=True)
    x = images(6)
    _, path = ascend(search, row_by_row, x, row_by_row(x).argmax(dim=1))
    assert [len(path), search.length] == [23, 23]
    widths = [distance(seen.points, x, "l1").amax().item() for seen in path]
    for first, last, radius in ((0, 7, 1.5), (7, 14, 1.0), (14, 23, 0.5)):
        assert max(widths[first:last]) == pytest.approx(radius, rel=1e-4)


@every_search
def test_an_attempt_asks_for_one_gradient_an_iteration(search: AutoPGD) -> None:
    x, asked = images(3), []

    def counted(x: Tensor) -> Tensor:
        asked.append(x.requires_grad)
        return row_by_row(x)

    ascend(search, counted, x, row_by_row(x).argmax(dim=1))
    assert sum(asked) == search.length == 21 + 2 * search.multi_eps


# Fields.


def test_targets_come_likeliest_first_each_with_its_restarts() -> None:
    search = APGDT(targets=9, restarts=2)
    assert [search.attempts(classes) for classes in (2, 4, 10, 1000)] == [2, 6, 18, 18]
    assert [search.target_rank(attempt) for attempt in range(6)] == [0, 0, 1, 1, 2, 2]
    assert APGDCE(restarts=5).attempts(10) == 5 and APGDCE().target_rank(0) == -1


@pytest.mark.parametrize("norm", EPS)
def test_restarts_begin_elsewhere(norm: Norm) -> None:
    x, noise = images(3), IndexNoise(0, torch.arange(3))
    y = torch.zeros(3, dtype=torch.int64)
    search = APGDCE(eps=EPS[norm], norm=norm, restarts=2)
    first, second = (search.init(x, y, y, attempt, noise).point for attempt in range(2))
    assert (first != second).flatten(1).any(dim=1).all()


@pytest.mark.parametrize("norm", EPS)
def test_radius_zero_finds_nothing(norm: Norm) -> None:
    x = images(6)
    y = row_by_row(x).argmax(dim=1)
    assert torch.equal(APGDCE(eps=0.0, norm=norm, steps=5)(row_by_row, x, y), x)


def test_records_say_what_departs_from_the_defaults() -> None:
    assert record(APGDT(targets=3)) == {
        "name": "apgd-t",
        "norm": "linf",
        "eps": "8/255",
        "steps": 100,
        "step_size": None,
        "restarts": 1,
        "random_start": True,
        "targets": 3,
    }


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"norm": "l0"}, "norm must be one of linf, l2, l1; got 'l0'"),
        ({"eps": 8}, "Did you mean 8 / 255"),
        ({"eps": -1, "norm": "l1"}, "eps must be at least 0; got -1"),
        ({"steps": 0}, "steps must be at least 1; got 0"),
        ({"restarts": 0}, "restarts must be at least 1; got 0"),
        ({"rho": 75}, r"rho must be in \[0, 1\].*got 75"),
        ({"targets": 0}, "targets must be at least 1; got 0"),
        ({"multi_eps": True}, "multi_eps needs norm l1 .* got linf and 100"),
        ({"multi_eps": True, "norm": "l1", "steps": 2}, "at least 3 steps; got l1 and 2"),
    ],
)
def test_fields_that_make_no_sense_are_refused_with_a_cure(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        APGDT(**fields)
