"""Which classes are taken for which, clean and under attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advdpnp.illustrations import Illustration
from advdpnp.report.figures.drawing import new_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Of more classes the numbers, and of still more the names, would cover each other.
_NUMBERED, _NAMED = 12, 30


def shares(counts: list[list[int]]) -> np.ndarray:
    """Counts (C, C) as percent of the images of each class, which is a row; NaN in that of a class without images."""
    import numpy as np

    images = np.asarray(counts, dtype=float)
    sizes = images.sum(axis=1, keepdims=True)
    found: np.ndarray = np.divide(100 * images, sizes, out=np.full_like(images, np.nan), where=sizes > 0)
    return found


def confusion_maps(found: Illustration) -> Figure:
    """Two heat maps, clean and attacked: true classes in rows, predicted ones in columns, percent of each row."""
    figure = new_figure(10.4, 5.6)
    panels = figure.subplots(1, 2)
    titles = ("clean", f"attacked: {found.key.label}, {found.key.budget}")
    for axes, of, title in zip(panels, ("clean", "adversarial"), titles, strict=True):
        drawn = _heat_map(axes, shares(found.confusion[of]), found.class_names)
        axes.set_title(f"{title}: {100 * found.accuracy(of):.1f} % right")
        axes.set_xlabel("predicted class")
    panels[0].set_ylabel("true class")
    figure.colorbar(drawn, ax=panels, label="percent of the true class", shrink=0.75, pad=0.02)
    return figure


def _heat_map(axes: Axes, values: np.ndarray, names: list[str]) -> AxesImage:
    import numpy as np
    from matplotlib.colors import PowerNorm

    count = len(names)
    axes.grid(visible=False)
    axes.set_facecolor("#DDDDDD")
    # Among many classes each wrong one has a small share, which shows where colors follow its root.
    norm = PowerNorm(1.0 if count <= _NAMED else 0.5, 0, 100)
    drawn = axes.imshow(values, cmap="Blues", norm=norm, interpolation="none")
    if count <= _NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            # A share that is 0 in print is left out, so that the others are seen.
            if value >= 0.5:
                ink = "white" if value > 55 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=8)
    size = 9 if count <= _NUMBERED else 6
    places = range(count) if count <= _NAMED else range(0, count, 10)
    labels = names if count <= _NAMED else [str(place) for place in places]
    upright = max(map(len, labels)) > 2 and count <= _NAMED
    axes.set_xticks(places, labels=labels, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(places, labels=labels, fontsize=size)
    return drawn
