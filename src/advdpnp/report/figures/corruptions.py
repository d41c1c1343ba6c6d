"""Accuracy under common corruptions: against their severity, as in Figure 3 of the paper, and one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from advdpnp.report.corruption_tables import printed_mean, stored_corruptions, words
from advdpnp.report.figures.drawing import METHODS_PER_FIGURE, draw_line, line_styles, name_lines, new_figure
from advdpnp.report.methods import color
from advdpnp.report.read import Result, by_method
from advdpnp.report.tables import percent, spread

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def _mean_over_seeds(seeds: Sequence[Result], read: Callable[[dict[str, Any]], Any]) -> np.ndarray:
    """What `read` takes from the stored corruptions of each seed, in percent."""
    import numpy as np

    return np.asarray(100 * np.mean([read(stored_corruptions(seed)) for seed in seeds], axis=0))


def accuracy_against_severity(results: list[Result]) -> Figure:
    """Mean accuracy over the corruptions at each severity (Figure 3 of the paper), clean at 0: a line for each method.

    Args:
        results: of corruptions, on the same images and from the same source.
    """
    figure = new_figure(8.4, 4.2)
    axes, drawn = figure.subplots(), []
    styles = line_styles([result.run for result in results])
    for seeds in by_method(results):
        run, clean = seeds[0].run, spread([seed.suite.clean for seed in seeds]).value
        y = [100 * clean, *_mean_over_seeds(seeds, lambda stored: stored["severity_accuracy"])]
        draw_line(axes, run, range(len(y)), y, styles[run.method])
        drawn += y
    # Whole tens around all lines, which lie too near each other on an axis from 0 to 100.
    axes.set_ylim(max(0, 10 * floor(min(drawn) / 10)), min(101, 10 * ceil(max(drawn) / 10)))
    source = results[0].suite.corruption_source
    axes.set(xlabel=f"severity of the corruptions ({source}); 0: clean", ylabel="mean accuracy (%)")
    name_lines(figure, axes)
    return figure


def corruption_maps(methods: Sequence[Sequence[Result]]) -> Figure:
    """Accuracy under each corruption at each severity, in percent: a heat map for each method, and the mean below.

    Beside the mean that of Table 5, for published images alone.

    Args:
        methods: at most `METHODS_PER_FIGURE` methods, each with its seeds, of which the mean is drawn.
    """
    import numpy as np

    names = list(stored_corruptions(methods[0][0])["right"])
    figure = new_figure(10.4, 0.5 + 0.24 * len(names))
    grid = figure.subplots(1, METHODS_PER_FIGURE, squeeze=False)[0]
    for axes, seeds in zip(grid, methods, strict=False):
        n = seeds[0].suite.n
        shares = _mean_over_seeds(seeds, lambda stored: [stored["right"][name] for name in names]) / n
        axes.grid(visible=False)
        axes.imshow(shares, cmap="viridis", vmin=0, vmax=100, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            ink = "white" if share < 60 else "black"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=7)
        labels = list(map(words, names)) if axes is grid[0] else [""] * len(names)
        axes.set_yticks(range(len(names)), labels=labels)
        axes.set_xticks(range(shares.shape[1]), labels=[str(k + 1) for k in range(shares.shape[1])])
        axes.set_title(seeds[0].run.method, color=color(seeds[0].run.defense))
        printed, mean = printed_mean(seeds[0]), f"mean {percent(shares.mean() / 100, n)} %"
        axes.set_xlabel("severity\n" + mean + ("" if printed is None else f", the paper {printed:.2f} %"))
    for empty in grid[len(methods) :]:
        empty.set_axis_off()
    return figure
