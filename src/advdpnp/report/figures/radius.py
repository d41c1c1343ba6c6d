"""Accuracy under the same attacks at growing radius, as in Figure 4 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from advdpnp.ranges import parse_eps
from advdpnp.report.figures.drawing import FAINT, LINE_STYLES, draw_line, line_styles, name_lines, new_figure
from advdpnp.report.methods import color
from advdpnp.report.radius_curves import attack_of_curve, by_suite, curve
from advdpnp.report.read import Result, by_method
from advdpnp.report.tables import attack_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _mark_training_eps(axes: Axes, results: Sequence[Result], unit: int) -> None:
    trained = {result.run.trained_eps for result in results} - {None}
    if len(trained) == 1:
        x = unit * (trained.pop() or 0)
        axes.axvline(x, color=FAINT, linewidth=0.9, linestyle=":")
        axes.annotate("ε of training", (x, 100), (3, -2), textcoords="offset points", va="top")


def _draw(axes: Axes, seeds: Sequence[Result], unit: int, style: Any) -> None:
    """Draw the curve of one method with the band of its intervals."""
    run, points = seeds[0].run, curve(seeds)
    x, y = [unit * point.eps for point in points], [100 * point.mean for point in points]
    low, high = [100 * point.low for point in points], [100 * point.high for point in points]
    axes.fill_between(x, low, high, color=color(run.defense), alpha=0.14, linewidth=0)
    draw_line(axes, run, x, y, style)


def accuracy_against_eps(results: Sequence[Result]) -> Figure:
    """Accuracy at growing radius (Figure 4 of the paper): a line for each method, a panel for each attack.

    The attacks of a single method share a panel, told apart by the style of their lines, as in the paper.

    Args:
        results: "curve" suites on the same images; those of one attack after those of another.
    """
    suites, keys = by_suite(results), attack_keys(results)
    unit = 255 if any(key.eps.endswith("/255") for key in keys) else 1
    reach = unit * max(parse_eps(key.eps) for key in keys)
    single = len(by_method(results)) == 1
    panels, figure = _panels(1 if single else len(suites))
    styles = line_styles([result.run for result in results])
    for place, suite in enumerate(suites):
        axes = panels[place % len(panels)]
        for seeds in by_method(suite):
            _draw(axes, seeds, unit, LINE_STYLES[place] if single else styles[seeds[0].run.method])
            if single:
                axes.get_lines()[-1].set_label(attack_of_curve(suite))
        axes.set_title(suite[0].run.method if single else attack_of_curve(suite))
    name_lines(figure, *panels)
    for axes in panels:
        _mark_training_eps(axes, results, unit)
        axes.set(xlim=(0, 1.01 * reach), ylim=(0, 101))
        ball = f"radius ε of the {keys[0].norm_name} ball, "
        axes.set_xlabel(ball + ("in 1/255 of the pixel range" if unit == 255 else "pixels in [0, 1]"))
    panels[0].set_ylabel("accuracy under attack (%)")
    return figure


def _panels(count: int) -> tuple[list[Axes], Figure]:
    figure = new_figure(8.4 if count == 1 else 10.4, 4.2)
    return list(figure.subplots(1, count, sharey=True, squeeze=False)[0]), figure
