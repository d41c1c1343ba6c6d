"""Two-dimensional features and class centers, as in Figure 2 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advdpnp.attack_words import attack_name
from advdpnp.report.figures.classes import NAMED_CLASSES, class_colors, name_class, scatter_classes, star
from advdpnp.report.figures.drawing import new_figure
from advdpnp.report.read import Embedding

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _scatter(axes: Axes, features: np.ndarray, embedding: Embedding, limit: float) -> None:
    colors = class_colors(len(embedding.centers))
    scatter_classes(axes, features, embedding.labels, colors)
    for label, (x, y) in enumerate(embedding.centers):
        axes.plot([0, x], [0, y], color=colors[label], linewidth=1)
        star(axes, (x, y), colors[label])
        if len(colors) <= NAMED_CLASSES:
            away = 13 / max(float((x**2 + y**2) ** 0.5), 1e-12)
            name_class(axes, (x, y), embedding.class_names[label], (away * x, away * y))
    axes.set_box_aspect(1)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="feature 1")


def feature_plane(embedding: Embedding) -> Figure:
    """2-D features colored by class with the class centers as stars on rays (Figure 2): clean, then attacked."""
    import numpy as np

    everything = np.concatenate([embedding.clean, embedding.adversarial, embedding.centers])
    limit = 1.12 * float(np.abs(everything).max())
    figure = new_figure(9.2, 5.15)
    left, right = figure.subplots(1, 2, sharey=True)
    _scatter(left, embedding.clean, embedding, limit)
    _scatter(right, embedding.adversarial, embedding, limit)
    left.set_title("clean")
    right.set_title(f"attacked: {attack_name(embedding.attack)}")
    left.set_ylabel("feature 2")
    return figure
