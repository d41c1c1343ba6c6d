"""What figures of features share: a color for each class, points in it, and stars with the classes' names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.patches import PathPatch

_TEN = (
    *("#332288", "#E69F00", "#117733", "#CC6677", "#56B4E9", "#882255", "#44AA99", "#999933", "#AA4499", "#777777"),
)
# More points would make the figure a large file.
_DOTS = 2000
# Names of more classes cover each other and the points.
NAMED_CLASSES = 20


def class_colors(classes: int) -> list[str]:
    """A color for each class; of more than ten, neighbors in order are alike."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if classes <= len(_TEN):
        return list(_TEN[:classes])
    # The end of this map is nearly its beginning.
    return [to_hex(colormaps["turbo"](0.04 + 0.92 * label / (classes - 1))) for label in range(classes)]


def scatter_classes(axes: Axes, points: np.ndarray, labels: np.ndarray, colors: list[str]) -> None:
    """Points (N, 2) in the colors of their classes: up to 2,000 as dots of a path, more of them as one picture."""
    import numpy as np

    if len(points) > _DOTS:
        ink = [colors[label] for label in labels]
        axes.scatter(points[:, 0], points[:, 1], s=3, c=ink, alpha=0.4, linewidths=0, rasterized=True)
        return
    for label in np.unique(labels):
        axes.add_patch(_dots(points[labels == label], colors[label]))


def _dots(points: np.ndarray, color: str) -> PathPatch:
    """Points as strokes of no length with round ends: a fifth of the bytes of as many marks, and as sharp."""
    import numpy as np
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    ends = np.repeat(points, 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(points)).astype(Path.code_type)
    path = Path(ends, codes)
    # A stroke of no length is what simplification leaves out.
    path.should_simplify = False
    return PathPatch(path, fill=False, edgecolor=color, alpha=0.6, linewidth=2.6, capstyle="round", zorder=2)


def name_class(axes: Axes, point: tuple[float, float], name: str, offset: tuple[float, float]) -> None:
    """A class's name beside a point, `offset` in points of type."""
    axes.annotate(
        name,
        point,
        offset,
        textcoords="offset points",
        ha="center",
        va="center",
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        zorder=3,
    )


def star(axes: Axes, point: tuple[float, float], color: str, size: float = 12) -> None:
    axes.plot(*point, "*", color=color, markersize=size, markeredgecolor="white", markeredgewidth=0.8, zorder=4)
