"""Features wider than two in a plane, by principal components and by t-SNE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advdpnp.attack_words import attack_name
from advdpnp.report.figures.classes import NAMED_CLASSES, class_colors, name_class, scatter_classes, star
from advdpnp.report.figures.drawing import new_figure
from advdpnp.report.read import Projection

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def projections(projection: Projection) -> Figure:
    """Four panels: PCA above, t-SNE below; clean features left, attacked ones right, on the same scales."""
    figure = new_figure(9.2, 9.6)
    (top_left, top_right), (bottom_left, bottom_right) = figure.subplots(2, 2)
    pca = projection.pca_clean, projection.pca_adversarial, projection.pca_stars
    tsne = projection.tsne_clean, projection.tsne_adversarial, projection.tsne_stars
    _panels((top_left, top_right), pca, projection)
    _panels((bottom_left, bottom_right), tsne, projection)
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
    return figure


def _panels(
    panels: tuple[Axes, Axes], points: tuple[np.ndarray, np.ndarray, np.ndarray], projection: Projection
) -> None:
    import numpy as np

    *sides, stars = points
    colors = class_colors(len(stars))
    everything = np.concatenate([*sides, stars])
    low, high = np.nanmin(everything, axis=0), np.nanmax(everything, axis=0)
    margin = 0.06 * max(*(high - low), 1e-12)
    for axes, features in zip(panels, sides, strict=True):
        scatter_classes(axes, features, projection.labels, colors)
        for label, (x, y) in enumerate(stars):
            if not np.isnan(x):
                star(axes, (x, y), colors[label], 12 if len(colors) <= NAMED_CLASSES else 6)
                if len(colors) <= NAMED_CLASSES:
                    name_class(axes, (x, y), projection.class_names[label], (0, -11))
        axes.set_box_aspect(1)
        axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))
