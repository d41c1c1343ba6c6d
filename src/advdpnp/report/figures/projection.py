"""Features wider than two in a plane, by principal components and by t-SNE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advdpnp.attack_words import attack_name
from advdpnp.report.figures.classes import NAMED_CLASSES, class_colors, scatter_classes, star
from advdpnp.report.figures.drawing import new_figure
from advdpnp.report.read import ProjectedFeatures

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def projections(projection: ProjectedFeatures) -> Figure:
    """Four panels: PCA above, t-SNE below; clean features left, attacked ones right, on the same scales."""
    figure = new_figure(9.2, 9.9)
    (top_left, top_right), (bottom_left, bottom_right) = figure.subplots(2, 2)
    pca = projection.pca_clean, projection.pca_adversarial, projection.pca_stars
    tsne = projection.tsne_clean, projection.tsne_adversarial, projection.tsne_stars
    for (low, high), panels, points in (
        (_square(_limits(pca)), (top_left, top_right), pca),
        (_limits(tsne), (bottom_left, bottom_right), tsne),
    ):
        _panels(panels, points, projection.labels)
        for axes in panels:
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    for axes in (top_left, top_right):
        axes.set_xlabel(f"component 1 ({projection.explained[0]:.0%} of the variance)")
    top_left.set_ylabel(f"component 2 ({projection.explained[1]:.0%} of the variance)")
    for axes in (bottom_left, bottom_right):
        # Distances in a t-SNE map have no unit.
        axes.set(xticks=[], yticks=[])
    attack = attack_name(projection.attack)
    top_left.set_title("PCA, clean")
    top_right.set_title(f"PCA, attacked: {attack}")
    bottom_left.set_title("t-SNE, clean")
    bottom_right.set_title(f"t-SNE, attacked: {attack}")
    _name_classes(figure, projection.class_names)
    return figure


def _limits(points: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits, (2,) each, of all points, with a margin."""
    import numpy as np

    everything = np.concatenate(points)
    low, high = np.nanmin(everything, axis=0), np.nanmax(everything, axis=0)
    margin = 0.06 * np.maximum(high - low, 1e-12)
    return low - margin, high + margin


def _square(limits: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Limits around the same middle in which both axes have one scale."""
    low, high = limits
    center, reach = (low + high) / 2, (high - low).max() / 2
    return center - reach, center + reach


def _panels(panels: tuple[Axes, Axes], points: tuple[np.ndarray, np.ndarray, np.ndarray], labels: np.ndarray) -> None:
    import numpy as np

    *sides, stars = points
    colors = class_colors(len(stars))
    for axes, features in zip(panels, sides, strict=True):
        scatter_classes(axes, features, labels, colors)
        for label, (x, y) in enumerate(stars):
            if not np.isnan(x):
                star(axes, (x, y), colors[label], 12 if len(colors) <= NAMED_CLASSES else 9)
        axes.set_box_aspect(1)


def _name_classes(figure: Figure, names: list[str]) -> None:
    """A legend of the colors, where there are not too many: beside stars, names would cover each other."""
    from matplotlib.lines import Line2D

    if len(names) > NAMED_CLASSES:
        return
    colors = class_colors(len(names))
    stars = [Line2D([], [], color=color, marker="*", markersize=9, linestyle="") for color in colors]
    figure.legend(stars, names, loc="outside lower center", ncols=5, frameon=False, handletextpad=0.2)
