"""How time and memory grow as one thing grows, from the stored measurement."""

import sys
from pathlib import Path

import ink
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from advdpnp.runs import read_json
from growth.axes import AXES
from growth.page import STORED, by_work, seconds_of_an_image

_COLORS = dict(zip(("training step", "attack", "evaluation", "epoch", "predictions"), ink.CLASSES))


def growth() -> Figure:
    """A column for each axis: above time of an image, below the peak of memory, both scales logarithmic."""
    stored = read_json(STORED)["axes"]
    axes = [axis for axis in AXES if axis.name in stored]
    figure, grid = plt.subplots(2, len(axes), figsize=(2.4 * len(axes), 5), squeeze=False, layout="constrained")
    for column, axis in zip(grid.T, axes, strict=True):
        for work, (values, points) in by_work(axis, stored[axis.name]).items():
            rows = (
                [1000 * seconds_of_an_image(point) for point in points],
                [point["memory_mib"]["process"] for point in points],
            )
            for panel, numbers in zip(column, rows, strict=True):
                panel.loglog(values, numbers, "o-", color=_COLORS[work], markersize=4, label=work)
        column[1].set_xlabel(axis.title)
        column[0].tick_params(labelbottom=False)
    grid[0][0].set_ylabel("ms of an image")
    grid[1][0].set_ylabel("peak of memory, MiB")
    named = {line.get_label(): line for panel in grid[0] for line in panel.get_lines()}
    figure.legend(list(named.values()), list(named), loc="outside upper center", ncols=len(named))
    return figure
