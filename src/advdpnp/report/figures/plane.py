"""Two-dimensional features and class centers, as in Figure 2 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advdpnp.attack_words import attack_name
from advdpnp.report.figures.classes import NAMED_CLASSES, class_colors, name_class, scatter_classes, star
from advdpnp.report.figures.drawing import new_figure
from advdpnp.report.read import Embedding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def feature_plane(embedding: Embedding, rows: bool = False) -> Figure:
    """2-D features colored by class, clean, then attacked (Figure 2), with the class centers.

    Args:
        embedding: features and centers.
        rows: whether the centers are rows of a linear layer, of which the direction alone is drawn: they are no places
            among the features, as prototypes are, which are stars.
    """
    import numpy as np

    places = [] if rows else [embedding.centers]
    everything = np.concatenate([embedding.clean, embedding.adversarial, *places])
    limit = 1.12 * float(np.abs(everything).max()) or 1.0
    figure = new_figure(9.2, 5.15)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, features in ((left, embedding.clean), (right, embedding.adversarial)):
        scatter_classes(axes, features, embedding.labels, class_colors(len(embedding.centers)))
        _draw_centers(axes, embedding, 0.88 * limit if rows else None)
        axes.set_box_aspect(1)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="feature 1")
    left.set_title("clean")
    right.set_title(f"attacked: {attack_name(embedding.attack)}")
    left.set_ylabel("feature 2")
    return figure


def _draw_centers(axes: Axes, embedding: Embedding, reach: float | None) -> None:
    """Rays with a star at the end; with `reach`, dashed ones of that length without stars."""
    colors = class_colors(len(embedding.centers))
    for label, (x, y) in enumerate(embedding.centers):
        length = max(float((x**2 + y**2) ** 0.5), 1e-12)
        end = (x, y) if reach is None else (reach * x / length, reach * y / length)
        axes.plot([0, end[0]], [0, end[1]], "-" if reach is None else "--", color=colors[label], linewidth=1)
        if reach is None:
            star(axes, end, colors[label])
        if len(colors) <= NAMED_CLASSES:
            away = 13 / length if reach is None else 7 / length
            name_class(axes, end, embedding.class_names[label], (away * x, away * y))
