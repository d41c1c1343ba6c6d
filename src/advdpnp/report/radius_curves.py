"""Accuracy against the radius of an attack, as values: the points of each curve, and where it ends, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from advdpnp.ranges import parse_eps
from advdpnp.report.read import CURVES, Result, RunResults, by_method, together
from advdpnp.report.tables import attack_keys, percent, spread
from advdpnp.results import Accuracy

# The suites of Figure 4, which share radii and are drawn together.
FIGURE_4 = CURVES[1:]


class Point(NamedTuple):
    """Accuracy at one radius: the mean of the seeds, the lowest and the highest end of their intervals."""

    eps: float
    mean: float
    low: float
    high: float


def _point(eps: float, seeds: list[Accuracy]) -> Point:
    return Point(eps, spread(seeds).value, min(seed.low for seed in seeds), max(seed.high for seed in seeds))


def curve(seeds: Sequence[Result]) -> list[Point]:
    """Clean accuracy, and accuracy at each radius that all seeds were attacked at, ascending.

    Args:
        seeds: of one method and suite.
    """
    keys = set.intersection(*({row.key for row in seed.suite.rows if not row.added} for seed in seeds))
    attacked = [_point(parse_eps(key.eps), [seed.suite.attacks[key] for seed in seeds]) for key in keys]
    return sorted([_point(0.0, [seed.suite.clean for seed in seeds]), *attacked])


def by_suite(results: Sequence[Result]) -> list[list[Result]]:
    """Results of each suite, in the order in which the suites first occur."""
    names = list(dict.fromkeys(result.suite.name for result in results))
    ordered = sorted(results, key=lambda result: names.index(result.suite.name))
    return [list(members) for _, members in groupby(ordered, key=lambda result: result.suite.name)]


def comparable_curves(runs: Sequence[RunResults]) -> list[list[Result]]:
    """Curves that one figure shows: of the same images and backbone; both attacks of Figure 4 together."""
    figures: dict[tuple[str, str, int, str, bool], list[Result]] = {}
    for results in together([Result(run, suite) for run in runs for suite in run.curves]):
        data, backbone, suite, n, indices = results[0].group
        figures.setdefault((data, backbone, n, indices, suite in FIGURE_4), []).extend(results)
    # PGD first, as in the paper; of `together` the suites come in the order of their names.
    return [sorted(figure, key=lambda result: CURVES.index(result.suite.name)) for figure in figures.values()]


def attack_of_curve(results: Sequence[Result]) -> str:
    """The attack of results of one suite, such as PGD-20."""
    return attack_keys(results)[0].label


def ends(results: Sequence[Result]) -> Iterator[str]:
    """Where the curves of one suite end, in sentences: from which radius on no image is right, or what is left.

    Args:
        results: of one suite on the same images.
    """
    attack, n = attack_of_curve(results), results[0].suite.n
    texts = {parse_eps(key.eps): key.eps for key in attack_keys(results)}
    broken, left = dict[str, list[str]](), []
    for seeds in by_method(results):
        name, points = seeds[0].run.method, curve(seeds)
        zero = next((point.eps for point in points if point.mean == 0), None)
        if zero is not None and all(point.mean == 0 for point in points if point.eps >= zero):
            broken.setdefault(texts.get(zero, "0"), []).append(name)
        else:
            at = texts.get(points[-1].eps, "0")
            left.append(f"{name} has {percent(points[-1].mean, n)} % left at {at}")
    for eps, names in sorted(broken.items(), key=lambda pair: parse_eps(pair[0])):
        yield f"{attack} leaves no image right from ε = {eps} on: {', '.join(names)}."
    if left:
        yield f"{attack} does not reach 0 % within the radii measured: {', '.join(left)}."
