"""Two-dimensional features and class centers, as in Figure 2 of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advdpnp.attack_words import attack_name
from advdpnp.report.figures.drawing import new_figure
from advdpnp.report.read import Embedding

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLASS_COLORS = (
    *("#332288", "#E69F00", "#117733", "#CC6677", "#56B4E9", "#882255", "#44AA99", "#999933", "#AA4499", "#777777"),
)


def _scatter(axes: Axes, features: np.ndarray, embedding: Embedding, limit: float) -> None:
    colors = [_CLASS_COLORS[label % len(_CLASS_COLORS)] for label in embedding.labels]
    axes.scatter(features[:, 0], features[:, 1], s=7, c=colors, alpha=0.55, linewidths=0, rasterized=True)
    for label, (x, y) in enumerate(embedding.centers):
        ink = _CLASS_COLORS[label % len(_CLASS_COLORS)]
        axes.plot([0, x], [0, y], color=ink, linewidth=1)
        axes.plot(x, y, "*", color=ink, markersize=12, markeredgecolor="white", markeredgewidth=0.8)
        away = 13 / max(float((x**2 + y**2) ** 0.5), 1e-12)
        axes.annotate(
            embedding.class_names[label],
            (x, y),
            (away * x, away * y),
            textcoords="offset points",
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )
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
