"""Accuracy under the same attack at growing radius, as in Figure 4 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from advdpnp.ranges import parse_eps
from advdpnp.report.figures.drawing import FAINT, label_lines, new_figure
from advdpnp.report.methods import color, method
from advdpnp.report.read import Result, by_method
from advdpnp.report.tables import attack_keys, spread
from advdpnp.results import Accuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class _Point(NamedTuple):
    """Accuracy at one radius: the mean of the seeds, the lowest and the highest end of their intervals."""

    eps: float
    mean: float
    low: float
    high: float


def _point(eps: float, seeds: list[Accuracy]) -> _Point:
    return _Point(eps, spread(seeds).value, min(seed.low for seed in seeds), max(seed.high for seed in seeds))


def _curve(seeds: list[Result]) -> list[_Point]:
    keys = set.intersection(*({row.key for row in seed.suite.rows if not row.added} for seed in seeds))
    attacked = [_point(parse_eps(key.eps), [seed.suite.attacks[key] for seed in seeds]) for key in keys]
    return sorted([_point(0.0, [seed.suite.clean for seed in seeds]), *attacked])


def _mark_training_eps(axes: Axes, results: list[Result], unit: int) -> None:
    trained = {result.run.trained_eps for result in results} - {None}
    if len(trained) == 1:
        x = unit * (trained.pop() or 0)
        axes.axvline(x, color=FAINT, linewidth=0.9, linestyle=":")
        axes.annotate("ε of training", (x, 100), (3, -2), textcoords="offset points", va="top")


def accuracy_against_eps(results: list[Result]) -> Figure:
    """Accuracy under the same attack at growing radius (Figure 4 of the paper): a line for each method.

    Args:
        results: "curve" suites on the same images.
    """
    key = attack_keys(results)[0]
    pixels = any(key.eps.endswith("/255") for key in attack_keys(results))
    unit = 255 if pixels else 1
    figure = new_figure(7.6, 4.2)
    axes = figure.subplots()
    ends, x = [], [0.0]
    for seeds in by_method(results):
        run, points = seeds[0].run, _curve(seeds)
        x, y = [unit * point.eps for point in points], [100 * point.mean for point in points]
        low, high = [100 * point.low for point in points], [100 * point.high for point in points]
        axes.fill_between(x, low, high, color=color(run.defense), alpha=0.14, linewidth=0)
        style, marker = "--" if run.tag else "-", method(run.defense).marker
        axes.plot(x, y, style, color=color(run.defense), marker=marker, markersize=4.5)
        ends.append((y[-1], run))
    label_lines(axes, ends, x[-1])
    _mark_training_eps(axes, results, unit)
    axes.set(xlim=(0, 1.01 * x[-1]), ylim=(0, 101), ylabel=f"accuracy under {key.label} (%)")
    axes.set_xlabel(
        f"radius ε of the {key.norm_name} ball, " + ("in 1/255 of the pixel range" if pixels else "pixels in [0, 1]")
    )
    return figure
