"""What figures of features share: a color for each class, points in it, and stars with the classes' names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

_TEN = (
    *("#332288", "#E69F00", "#117733", "#CC6677", "#56B4E9", "#882255", "#44AA99", "#999933", "#AA4499", "#777777"),
)
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
    """Points (N, 2) in the colors of their classes, drawn as one picture."""
    size, alpha = (7.0, 0.55) if len(points) <= 2000 else (3.0, 0.4)
    ink = [colors[label] for label in labels]
    axes.scatter(points[:, 0], points[:, 1], s=size, c=ink, alpha=alpha, linewidths=0, rasterized=True)


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
    )


def star(axes: Axes, point: tuple[float, float], color: str, size: float = 12) -> None:
    axes.plot(*point, "*", color=color, markersize=size, markeredgecolor="white", markeredgewidth=0.8)
